"""Skew: what serving returned, replayed from the prediction log through the path that training takes."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec
import pandas as pd

from beacon_core.data.database import Connection, Engine
from beacon_core.data.predictions import StoreLookup, stream_lookups
from beacon_core.domain.product import Product
from beacon_core.feature_store import repo
from beacon_core.feature_store.names import EVENT_TIME
from beacon_core.platform.settings import Settings

BATCH = 10_000

Moment = tuple[int, datetime]  # an entity at a time


class Skew(msgspec.Struct, frozen=True):
    """The replayed predictions, how many of them differ, their share, and by feature how often it differed."""

    predictions: int
    unequal: int
    share: float
    features: dict[str, int]


def measure_skew(settings: Settings, product: Product, engine: Engine, since: datetime, until: datetime) -> Skew:
    """Replay the predictions of [since, until) that used stored features. Equal means equal: no tolerance."""
    replayed = unequal = 0
    differing: Counter[str] = Counter()
    with engine.connect() as connection:
        for batch in _batches(product, connection, since, until):
            known = _known(settings, product, batch)
            for row in batch:
                joined = known.get((int(row.entity), row.time), {})
                wrong = [name for name in _of_store(row, product) if row.features.get(name) != joined.get(name)]
                differing.update(wrong)
                unequal += bool(wrong)
            replayed += len(batch)
    return Skew(replayed, unequal, unequal / replayed if replayed else 0.0, dict(differing.most_common()))


def _batches(product: Product, connection: Connection, since: datetime, until: datetime) -> Iterator[list[StoreLookup]]:
    for batch in stream_lookups(connection, since, until, BATCH):
        # Where the request had every value, no value came from the store.
        if used := [row for row in batch if _of_store(row, product)]:
            yield used


def _of_store(row: StoreLookup, product: Product) -> list[str]:
    """Name the features that the request lacked: those that came from the store, and those that it did not have."""
    return [name for name in product.feature_names if name in row.from_store or row.features.get(name) is None]


def _known(settings: Settings, product: Product, batch: Sequence[StoreLookup]) -> dict[Moment, dict[str, float | None]]:
    """What training would join at each moment; nothing for one before its entity was known."""
    key = product.entity.key
    # Distinct ones: Feast joins two equal moments, such as two rows of one batch, into one.
    moments = sorted({(int(row.entity), row.time) for row in batch})
    frame = pd.DataFrame(
        {
            key: pd.array([entity for entity, _ in moments], dtype="int64"),
            EVENT_TIME: pd.to_datetime([time for _, time in moments], utc=True),
        }
    )
    joined = repo.known_at(settings, product, frame)
    times = (time.to_pydatetime() for time in joined[EVENT_TIME])
    rows = joined[list(product.feature_names)].to_dict("records")
    return {
        (int(entity), time): {str(name): None if pd.isna(value) else value for name, value in row.items()}
        for entity, time, row in zip(joined[key], times, rows, strict=True)
    }
