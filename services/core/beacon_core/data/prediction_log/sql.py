"""The prediction log as a table of the database, on SQLite and PostgreSQL."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, func, select

from beacon_core.data.evidence import counts
from beacon_core.data.prediction_log.port import BATCH, ForgottenRow, LoggedPrediction, LogSlice
from beacon_core.data.tables import predictions

WHOLE = tuple(predictions.c[name] for name in LoggedPrediction._fields)
ORDER = (predictions.c.time, predictions.c.id)


def find(connection: Connection, ids: Sequence[str], /) -> list[LoggedPrediction]:
    """Find those of the predictions that are there."""
    query = select(*WHOLE).where(predictions.c.id.in_(ids)).order_by(*ORDER)
    return [LoggedPrediction(*row) for row in connection.execute(query)]


def of_entity(
    connection: Connection, entity: str, /, *, since: datetime | None = None
) -> Iterator[list[LoggedPrediction]]:
    """Yield the predictions of an entity, in batches."""
    query = select(*WHOLE).where(predictions.c.entity == entity).order_by(*ORDER)
    if since is not None:
        query = query.where(predictions.c.time >= since)
    for batch in connection.execute(query, execution_options={"yield_per": BATCH}).partitions():
        yield [LoggedPrediction(*row) for row in batch]


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
    order = tuple(column.desc() for column in ORDER) if newest_first else ORDER
    query = select(*[predictions.c[name] for name in columns]).where(*_conditions(rows)).order_by(*order).limit(limit)
    for batch in connection.execute(query, execution_options={"yield_per": size}).partitions():
        yield [tuple(row) for row in batch]


def count(connection: Connection, rows: LogSlice, /) -> int:
    """Count the rows."""
    query = select(func.count()).select_from(predictions).where(*_conditions(rows))
    return int(connection.execute(query).scalar_one())


def forget(
    connection: Connection, /, *, entity: str | None = None, ids: Sequence[str] = (), most: int
) -> list[ForgottenRow]:
    """Delete at most so many of the rows of the entity, or of those with these ids; an empty list ends it."""
    table = predictions.c
    chosen = table.id.in_(ids) if entity is None else table.entity == entity
    query = select(table.id, table.time, table.model_version).where(chosen).order_by(*ORDER).limit(most)
    found = [ForgottenRow(*row) for row in connection.execute(query)]
    if found:
        connection.execute(delete(predictions).where(table.id.in_([row.id for row in found])))
    return found


def expire(connection: Connection, before: datetime, most: int, /) -> int:
    """Delete at most so many of the rows made before a moment, the oldest first; 0 ends it."""
    oldest = select(predictions.c.id).where(predictions.c.time < before).order_by(predictions.c.time).limit(most)
    return connection.execute(delete(predictions).where(predictions.c.id.in_(oldest))).rowcount


def _conditions(rows: LogSlice) -> list[ColumnElement[bool]]:
    table = predictions.c
    wanted = [counts(predictions, rows.evidence)]
    if rows.since is not None:
        wanted.append(table.time >= rows.since)
    if rows.until is not None:
        wanted.append(table.time < rows.until)
    if rows.model_version is not None:
        wanted.append(table.model_version == rows.model_version)
    if rows.logged_since is not None:
        wanted.append(table.logged_at >= rows.logged_since)
    if rows.looked_up:
        wanted += [table.from_store.is_not(None), table.entity.is_not(None)]
    return wanted
