"""The prediction log as people read it: pages of it, filtered, and the newest values of a feature.

A page begins at a key, not at an offset, so that the last page costs what the first one does. What no index finds is
looked for among a bounded number of rows; the page says how far back it looked, and the next one goes on from there.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Text, and_, cast, func, or_, select

from beacon_core.data.prediction_log import lake_pages
from beacon_core.data.prediction_log.either import scan
from beacon_core.data.prediction_log.page_types import (
    MOST_JOINED,
    MOST_SEARCHED,
    OF_LOG,
    LogFilter,
    LoggedValue,
    LogLine,
    LogPage,
    LogPosition,
    ShadowPair,
)
from beacon_core.data.prediction_log.port import LogSlice
from beacon_core.data.prediction_log.reading import lake_of
from beacon_core.data.prediction_log.which_actual import actual_id
from beacon_core.data.tables import actuals, predictions

__all__ = [
    "LogFilter",
    "LogLine",
    "LogPage",
    "LogPosition",
    "LoggedValue",
    "ShadowPair",
    "newest_values",
    "oldest_time",
    "page_of",
    "shadow_pairs",
]


NO_NAMES = "[]"


@contextmanager
def _in_index_order(connection: Connection) -> Iterator[None]:
    """Let PostgreSQL read rows in the order of an index, and stop, rather than read all that fit and sort them.

    Where its statistics are old it takes a version for one of many with few rows each, and sorted a million: a second.
    """
    if connection.dialect.name != "postgresql":
        yield
        return
    connection.exec_driver_sql("SET LOCAL enable_sort = off")
    yield
    connection.exec_driver_sql("SET LOCAL enable_sort = on")


def page_of(connection: Connection, wanted: LogFilter, after: LogPosition | None, size: int) -> LogPage:
    """The predictions that a filter lets pass, beginning behind `after`, at most `size` of them."""
    if lake_of(connection) is not None:
        return lake_pages.page_of(connection, wanted, after, size)
    with _in_index_order(connection):
        return _page_of(connection, wanted, after, size)


def _page_of(connection: Connection, wanted: LogFilter, after: LogPosition | None, size: int) -> LogPage:
    table = predictions.c
    indexed = _indexed(wanted, after)
    most = MOST_JOINED if wanted.needs_actuals else MOST_SEARCHED
    end = None
    residual = _residual(wanted)
    if residual or wanted.needs_actuals:
        places = select(table.time, table.id).where(*indexed).order_by(table.time.desc(), table.id.desc())
        end = connection.execute(places.offset(most - 1).limit(1)).first()
    inner = select(*[table[name] for name in OF_LOG]).where(*indexed, *residual)
    if end is not None:
        inner = inner.where(table.time >= end.time, or_(table.time > end.time, table.id >= end.id))
    inner = inner.order_by(table.time.desc(), table.id.desc())
    found = inner.limit(most if wanted.needs_actuals else size + 1).subquery()
    belonging = actuals.c.id == actual_id(found.c.id, found.c.entity, found.c.time)
    facts: tuple[Any, ...] = (*found.c, actuals.c.value, actuals.c.observed_at)
    query = select(*facts).select_from(found.outerjoin(actuals, belonging))
    if wanted.has_actual is not None:
        query = query.where(actuals.c.id.is_not(None) if wanted.has_actual else actuals.c.id.is_(None))
    if wanted.error_above is not None:
        query = query.where(func.abs(actuals.c.value - found.c.prediction) > wanted.error_above)
    rows = connection.execute(query.order_by(found.c.time.desc(), found.c.id.desc()).limit(size + 1))
    lines = [LogLine(*row) for row in rows]
    if len(lines) > size:
        last = lines[size - 1]
        return LogPage(lines[:size], LogPosition(last.time, last.id), None)
    return LogPage(lines, None if end is None else LogPosition(end.time, end.id), None if end is None else end.time)


def shadow_pairs(
    connection: Connection, version: str, shadow: str, features: Sequence[str], most: int
) -> list[ShadowPair]:
    """The newest rows that `version` answered while `shadow` answered them in shadow; of some features alone.

    They are looked for among the newest `MOST_SEARCHED` rows of the version.
    """
    if lake_of(connection) is not None:
        return lake_pages.shadow_pairs(connection, version, shadow, features, most)
    with _in_index_order(connection):
        return _shadow_pairs(connection, version, shadow, features, most)


def _shadow_pairs(
    connection: Connection, version: str, shadow: str, features: Sequence[str], most: int
) -> list[ShadowPair]:
    table = predictions.c
    own = table.model_version == version
    end = connection.execute(
        select(table.time).where(own).order_by(table.time.desc()).offset(MOST_SEARCHED - 1).limit(1)
    ).scalar()
    columns = (table.id, table.time, table.entity, table.prediction, table.shadow_prediction)
    named = [table.features[name].label(f"feature_{place}") for place, name in enumerate(features)]
    inner = select(*columns, *named).where(own, table.shadow_version == shadow, table.shadow_prediction.is_not(None))
    if end is not None:
        inner = inner.where(table.time >= end)
    found = inner.order_by(table.time.desc()).limit(most).subquery()
    belonging = actuals.c.id == actual_id(found.c.id, found.c.entity, found.c.time)
    facts: tuple[Any, ...] = (*found.c, actuals.c.value)
    query = select(*facts).select_from(found.outerjoin(actuals, belonging)).order_by(found.c.time.desc(), found.c.id)
    return [
        ShadowPair(name, time, entity, answer, other, dict(zip(features, values, strict=True)), actual)
        for name, time, entity, answer, other, *values, actual in connection.execute(query)
    ]


def oldest_time(connection: Connection) -> datetime | None:
    """When the oldest prediction of the log was made; None where it is empty."""
    if lake_of(connection) is not None:
        return next((time for batch in scan(connection, LogSlice(), ["time"], limit=1) for (time,) in batch), None)
    found: datetime | None = connection.scalar(select(func.min(predictions.c.time)))
    return found


def newest_values(connection: Connection, feature: str, most: int) -> list[LoggedValue]:
    """A feature's values in the newest predictions, the newest first."""
    if lake_of(connection) is not None:
        return lake_pages.newest_values(connection, feature, most)
    table = predictions.c
    columns = (table.time, table.features[feature], table.imputed, table.out_of_range)
    query = select(*columns).order_by(table.time.desc()).limit(most)
    return [
        LoggedValue(time, value, feature in imputed, feature in outside)
        for time, value, imputed, outside in connection.execute(query)
    ]


def _indexed(wanted: LogFilter, after: LogPosition | None) -> list[ColumnElement[bool]]:
    """What an index finds: of a version or an entity, which also have the time, one alone."""
    table = predictions.c
    found: list[ColumnElement[bool]] = []
    if wanted.entity is not None:
        found.append(table.entity == wanted.entity)
    elif wanted.version is not None:
        found.append(table.model_version == wanted.version)
    if wanted.since is not None:
        found.append(table.time >= wanted.since)
    if wanted.until is not None:
        found.append(table.time < wanted.until)
    if after is not None:
        found.append(and_(table.time <= after.time, or_(table.time < after.time, table.id < after.id)))
    return found


def _residual(wanted: LogFilter) -> list[ColumnElement[bool]]:
    table = predictions.c
    found: list[ColumnElement[bool]] = []
    if wanted.entity is not None and wanted.version is not None:
        found.append(table.model_version == wanted.version)
    if wanted.is_out_of_range is not None:
        names: Any = cast(table.out_of_range, Text)
        found.append(names != NO_NAMES if wanted.is_out_of_range else names == NO_NAMES)
    return found
