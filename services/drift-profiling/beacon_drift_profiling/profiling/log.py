"""The prediction log, read for profiling: which hours have news, and the rows of one hour with their actuals.

An hour has news when a row of it came, or an actual of one, since the watermark. Both are found by when they came and
not by when the prediction was made: spools ship late, and clocks differ. A row that does not parse is set aside.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
from sqlalchemy import ColumnElement, Connection, Text, cast, func, select

from beacon_core.data.actuals import actual_id, last_before, of_last_before
from beacon_core.data.tables import actuals, predictions, traffic
from beacon_drift_profiling.profiling.sums import Rows

HOUR = timedelta(hours=1)
# Commits are not in the order of their stamps, and stamps not all of one clock: this much is read again.
OVERLAP = timedelta(minutes=15)
BATCH = 10_000
HOUR_DIGITS = 13

_decode = msgspec.json.Decoder(dict[str, float | None]).decode
_decode_names = msgspec.json.Decoder(list[str]).decode


class Unit(msgspec.Struct, frozen=True, order=True):
    """One model version's rows of one hour: what one profile is made of."""

    hour: datetime
    model_version: str


class News(msgspec.Struct, frozen=True):
    """Units with news, how far the log was read, and how many rows have no readable time."""

    units: frozenset[Unit]
    logged_at: datetime | None
    received_at: datetime | None
    undated: int


class HourOfLog(msgspec.Struct, frozen=True):
    """The rows of one unit in order of their ids, the newest package digest, and the ids that were set aside."""

    ids: tuple[str, ...]
    rows: Rows
    sha256: str | None
    set_aside: tuple[str, ...]


def news(connection: Connection, logged_since: datetime | None, received_since: datetime | None) -> News:
    """Find the units with news since the watermark; None reads the whole log."""
    queries = [_every_hour(connection)] if logged_since is None else _arrived(connection, logged_since, received_since)
    units, undated = set(), 0
    for place, query in enumerate(queries):
        for text, version, count in connection.execute(query):
            moment = _moment(text)
            if moment is not None:
                units.add(Unit(moment, version))
            elif place == 0:
                undated += count
    logged = connection.execute(select(func.max(predictions.c.logged_at))).scalar()
    received = connection.execute(select(func.max(actuals.c.received_at))).scalar()
    return News(frozenset(units), logged, received, undated)


def read_unit(connection: Connection, unit: Unit, names: Sequence[str]) -> HourOfLog:
    """Read one unit's rows and their actuals; `names` are the features in order."""
    table = predictions.c
    query: Any = (
        select(
            table.id,
            cast(table.features, Text),
            cast(table.out_of_range, Text),
            table.prediction,
            table.low,
            table.high,
            table.latency_seconds,
            cast(table.time, Text),
            table.model_sha256,
        )
        .where(*_within(unit))
        .order_by(table.id)
    )
    told = _actuals(connection, unit)
    ids: list[str] = []
    parsed: list[list[float]] = []
    set_aside: list[str] = []
    blocks = [np.empty((0, len(names) + 7))]
    sha256 = None
    for batch in connection.execute(query, execution_options={"yield_per": BATCH}).partitions():
        for row in batch:
            try:
                parsed.append(_parse(row, names, told.get(row[0])))
                ids.append(row[0])
                sha256 = row[8]
            except (ValueError, TypeError):
                set_aside.append(str(row[0]))
        blocks.append(np.asarray(parsed, dtype=np.float64).reshape(len(parsed), len(names) + 7))
        parsed.clear()
    matrix = np.concatenate(blocks)
    features, rest = matrix[:, : len(names)], matrix[:, len(names) :].T
    rows = Rows(features, rest[0], rest[1], rest[2], rest[3], rest[4] > 0, rest[5], rest[6])
    return HourOfLog(tuple(ids), rows, sha256, tuple(set_aside))


def _parse(row: Sequence[Any], names: Sequence[str], told: tuple[float, datetime] | None) -> list[float]:
    """Return one row's features, then the rest of `Rows` in order; raises ValueError or TypeError."""
    known = _decode(row[1])
    values = [known.get(name) for name in names]
    numbers = [float(value) for value in row[3:7]]
    if not np.isfinite(numbers).all():
        raise ValueError("not finite")
    value = delay = float("nan")
    if told is not None:
        value, received = told
        delay = max((received - _utc(row[7])).total_seconds(), 0.0)
    filled = [float("nan") if item is None else item for item in values]
    return [*filled, *numbers, float(bool(_decode_names(row[2]))), value, delay]


def _actuals(connection: Connection, unit: Unit) -> dict[str, tuple[float, datetime]]:
    """Value and arrival of the actuals of a unit's predictions, by prediction id."""
    columns = predictions.c
    mine = actuals.c.id == actual_id(columns.id, columns.entity, columns.time)
    query = select(columns.id, actuals.c.value, actuals.c.received_at).join_from(predictions, actuals, mine)
    found = connection.execute(query.where(*_within(unit)))
    return {name: (float(value), received) for name, value, received in found}


def _arrived(connection: Connection, logged_since: datetime, received_since: datetime | None) -> list[Any]:
    """Ask by what the units have news: rows, actuals by id, actuals of entities, and rows that take an actual over."""
    hour = _hour(connection, predictions.c.time)
    unit = (hour, predictions.c.model_version)
    labelled = [] if received_since is None else [actuals.c.received_at >= received_since - OVERLAP]
    of_rows = select(*unit, func.count()).where(predictions.c.logged_at >= logged_since - OVERLAP)
    by_id = select(*unit, func.count()).join_from(actuals, predictions, predictions.c.id == actuals.c.prediction_id)
    # A prediction that comes late may take an actual of its entity from the one before.
    by_entity = select(*unit, func.count()).join_from(actuals, predictions, of_last_before())
    late = predictions.alias("late")
    before = last_before(late.c.entity, late.c.time, inclusive=False)
    same = (predictions.c.entity == late.c.entity) & (predictions.c.time == before)
    follows = select(actuals.c.id).where(actuals.c.entity == late.c.entity, actuals.c.observed_at >= late.c.time)
    taken = select(*unit, func.count()).join_from(late, predictions, same)
    taken = taken.where(follows.exists(), late.c.logged_at >= logged_since - OVERLAP)
    queries = (of_rows, by_id.where(*labelled), by_entity.where(*labelled), taken)
    return [query.group_by(*unit) for query in queries]


def _every_hour(connection: Connection) -> Any:
    """Every unit of the log. PostgreSQL would cut a look at all of a large log off, and has counted it by unit."""
    if connection.dialect.name == "postgresql":
        hour = _hour(connection, traffic.c.hour)
        return select(hour, traffic.c.model_version, func.count()).group_by(hour, traffic.c.model_version)
    hour = _hour(connection, predictions.c.time)
    return select(hour, predictions.c.model_version, func.count()).group_by(hour, predictions.c.model_version)


def _within(unit: Unit) -> Iterable[ColumnElement[bool]]:
    table = predictions.c
    return table.time >= unit.hour, table.time < unit.hour + HOUR, table.model_version == unit.model_version


def _hour(connection: Connection, column: Any) -> ColumnElement[str]:
    if connection.dialect.name == "postgresql":
        return func.to_char(func.timezone("UTC", column), "YYYY-MM-DD HH24")
    return func.substr(cast(column, Text), 1, HOUR_DIGITS)


def _moment(text: str | None) -> datetime | None:
    try:
        return datetime.strptime(str(text), "%Y-%m-%d %H").replace(tzinfo=UTC)
    except ValueError:
        return None


def _utc(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
