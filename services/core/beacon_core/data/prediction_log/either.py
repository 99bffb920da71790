"""The port's questions, answered by the store that a connection's log is read from (`reading`)."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from beacon_core.data.prediction_log import sql
from beacon_core.data.prediction_log.port import BATCH, LoggedPrediction, LogSlice
from beacon_core.data.prediction_log.reading import lake_of


def find(connection: Connection, ids: Sequence[str], /) -> list[LoggedPrediction]:
    """Find those of the predictions that are there."""
    if (source := lake_of(connection)) is None:
        return sql.find(connection, ids)
    with source.begin() as handle:
        return source.store.find(handle, ids)


def of_entity(
    connection: Connection, entity: str, /, *, since: datetime | None = None
) -> Iterator[list[LoggedPrediction]]:
    """Yield the predictions of an entity, in batches."""
    if (source := lake_of(connection)) is None:
        yield from sql.of_entity(connection, entity, since=since)
        return
    with source.begin() as handle:
        yield from source.store.of_entity(handle, entity, since=since)


def scan(
    connection: Connection,
    rows: LogSlice,
    columns: Sequence[str],
    /,
    *,
    newest_first: bool = False,
    limit: int | None = None,
    size: int = BATCH,
) -> Iterator[list[Any]]:
    """Yield those columns of the rows, in batches of tuples; a `limit` bounds all of them together."""
    if (source := lake_of(connection)) is None:
        yield from sql.scan(connection, rows, columns, newest_first=newest_first, limit=limit, size=size)
        return
    with source.begin() as handle:
        yield from source.store.scan(handle, rows, columns, newest_first=newest_first, limit=limit, size=size)


def count(connection: Connection, rows: LogSlice, /) -> int:
    """Count the rows."""
    if (source := lake_of(connection)) is None:
        return sql.count(connection, rows)
    with source.begin() as handle:
        return source.store.count(handle, rows)
