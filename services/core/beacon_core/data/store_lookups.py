"""Predictions for which the feature store was asked, as the skew check replays them."""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, select

from beacon_core.data.tables import predictions

BATCH = 10_000


class StoreLookup(NamedTuple):
    """One such prediction: its merged features, and the names of those that came from the store."""

    time: datetime
    entity: str
    features: dict[str, float | None]
    from_store: list[str]


def store_lookups(connection: Connection, since: datetime, until: datetime) -> Iterator[list[StoreLookup]]:
    """Yield the predictions of [since, until) for which the store was asked, in batches, in order of time."""
    columns = predictions.c
    query = (
        select(columns.time, columns.entity, columns.features, columns.from_store)
        .where(columns.time >= since, columns.time < until)
        .where(columns.from_store.is_not(None), columns.entity.is_not(None))
        .order_by(columns.time)
        .execution_options(yield_per=BATCH)
    )
    for batch in connection.execute(query).partitions(BATCH):
        yield [StoreLookup(*row) for row in batch]
