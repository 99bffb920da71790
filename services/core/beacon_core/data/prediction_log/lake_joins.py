"""The log in the lake, joined with the actuals in the database: the same answers as the modules of the table give.

The rows that any actual may belong to, and the actuals, come into a `scratch` of the question's own, where the rule of
`which_actual` is asked; whole rows are then read from the lake by their ids and times.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, or_, select

from beacon_core.data.prediction_log.port import BATCH, LogSlice
from beacon_core.data.prediction_log.reading import LakeSource
from beacon_core.data.prediction_log.scratch import copy_actuals, copy_rows, open_scratch
from beacon_core.data.prediction_log.which_actual import actual_id, labelled
from beacon_core.data.tables import actuals, predictions
from beacon_core.domain.policy import Evidence

if TYPE_CHECKING:
    import pyarrow as pa

    from beacon_core.data.prediction_log.lake import LakeHandle

CLOCKS = timedelta(days=1)
"""Clocks differ by less: an actual of a prediction's id cannot have come so long before the prediction."""
OF_RULE = ("id", "time", "entity", "client")
"""What the rule looks at."""
ANY_TIME = LogSlice()


class Told(NamedTuple):
    """Ids and entities that some actuals are of."""

    ids: list[str]
    entities: list[str]


class OwnActual(NamedTuple):
    """The actual that belongs to a prediction, which was made at `time`."""

    value: float
    received_at: datetime
    time: datetime


def labelled_rows(
    connection: Connection, source: LakeSource, evidence: Evidence, columns: Sequence[str]
) -> Iterator[list[tuple[Any, ...]]]:
    """Yield those columns of every labelled prediction that counts, and `value` and `observed_at` of its actual."""
    with source.begin() as handle:
        from beacon_core.data.prediction_log import lake  # noqa: PLC0415 - only where there is one

        found = labelled(predictions.c.id, predictions.c.time, evidence=evidence)
        query = select(found.c.id, found.c.time, found.c.value, found.c.observed_at)
        with _actuals_in_scratch(connection) as scratch:
            copy_rows(_candidates(handle, _told(scratch), OF_RULE, ANY_TIME), scratch, OF_RULE)
            labels = _as_table(scratch, query)
        for rows in lake.joined(handle, labels, columns, BATCH):
            yield lake.tuples(rows, [*columns, "value", "observed_at"])


def query_labelled(
    connection: Connection, source: LakeSource, query: Select[Any], columns: Sequence[str], since: datetime, after: int
) -> list[Any]:
    """Ask a query of `labelled` that reads the actuals after the one of that number, and predictions since then."""
    names = (*OF_RULE, *columns)
    with source.begin() as handle, _actuals_in_scratch(connection, _may_be_of(since)) as scratch:
        some = _told(scratch, actuals.c.id > after)
        copy_rows(_candidates(handle, some, names, LogSlice(since=since)), scratch, names)
        return list(scratch.execute(query))


def actuals_of(connection: Connection, source: LakeSource, rows: LogSlice, evidence: Evidence) -> dict[str, OwnActual]:
    """The actuals of the predictions of a slice, which says from when on, by the ids of those that have one.

    Some ids may be of others than the slice's.
    """
    assert rows.since is not None  # noqa: S101 - every caller has one
    with source.begin() as handle, _actuals_in_scratch(connection, _may_be_of(rows.since)) as scratch:
        names, persons = _told(scratch)
        if not names and not persons:
            return {}
        # Later predictions of the same entities take actuals, too.
        persons = _entities_of(handle, rows, persons) if persons else []
        where = LogSlice(since=rows.since) if persons else rows
        copy_rows(_candidates(handle, Told(names, persons), OF_RULE, where), scratch, OF_RULE)
        own = actuals.c.id == actual_id(predictions.c.id, predictions.c.entity, predictions.c.time, evidence)
        query = select(predictions.c.id, actuals.c.value, actuals.c.received_at, predictions.c.time)
        query = query.join_from(predictions, actuals, own)
        if rows.until is not None:
            query = query.where(predictions.c.time < rows.until)
        return {name: OwnActual(*fields) for name, *fields in scratch.execute(query)}


def changed_by(
    connection: Connection,
    source: LakeSource,
    queries: Callable[[Connection], Sequence[Any]],
    logged_since: datetime,
    received_since: datetime | None,
) -> list[Any]:
    """Ask queries of rows whose actuals have changed: by actuals received, and by rows logged, since these moments."""
    arrived = () if received_since is None else (actuals.c.received_at >= received_since,)
    names = (*OF_RULE, "model_version", "logged_at")
    wanted = (or_(*arrived, actuals.c.entity.is_not(None)),) if arrived else ()
    with source.begin() as handle, _actuals_in_scratch(connection, *wanted) as scratch:
        ids, persons = _told(scratch, *arrived)
        known = _told(scratch).entities
        late = _entities_of(handle, LogSlice(logged_since=logged_since), known) if known else []
        some = Told(ids, sorted({*persons, *late}))
        copy_rows(_candidates(handle, some, names, ANY_TIME), scratch, names)
        return [row for query in queries(scratch) for row in scratch.execute(query)]


@contextmanager
def _actuals_in_scratch(connection: Connection, *conditions: ColumnElement[bool]) -> Iterator[Connection]:
    with open_scratch() as scratch:
        copy_actuals(connection, scratch, *conditions)
        yield scratch


def _may_be_of(since: datetime) -> ColumnElement[bool]:
    """Which actuals may belong to predictions made since then."""
    by_id = actuals.c.prediction_id.is_not(None) & (actuals.c.received_at >= since - CLOCKS)
    return by_id | (actuals.c.entity.is_not(None) & (actuals.c.observed_at >= since))


def _told(scratch: Connection, *conditions: ColumnElement[bool]) -> Told:
    """What actuals are of, each once."""
    return Told(*(_distinct(scratch, column, *conditions) for column in (actuals.c.prediction_id, actuals.c.entity)))


def _distinct(scratch: Connection, column: Any, *conditions: ColumnElement[bool]) -> list[str]:
    return list(scratch.scalars(select(column).where(column.is_not(None), *conditions).distinct()))


def _candidates(handle: "LakeHandle", some: Told, columns: Sequence[str], rows: LogSlice) -> "Iterator[pa.Table]":
    from beacon_core.data.prediction_log import lake  # noqa: PLC0415

    return lake.candidates(handle, some.ids, some.entities, columns, rows)


def _entities_of(handle: "LakeHandle", rows: LogSlice, some: Sequence[str]) -> list[str]:
    """Those of the entities that have a prediction in the slice."""
    found: set[str] = set()
    for table in _candidates(handle, Told([], list(some)), (), rows):
        found.update(table["entity"].unique().to_pylist())
    return sorted(found)


def _as_table(scratch: Connection, query: Any) -> "pa.Table":
    """The ids, times, values and times of observation that a query finds, without an object for each."""
    import pyarrow as pa  # noqa: PLC0415

    from beacon_core.data.prediction_log import lake  # noqa: PLC0415

    parts = []
    for batch in scratch.execute(query, execution_options={"yield_per": BATCH}).partitions():
        names, times, values, observed = zip(*batch, strict=True)
        columns = (pa.array(names, pa.large_string()), lake.moments(times), pa.array(values), lake.moments(observed))
        parts.append(pa.table(dict(zip(("id", "time", "value", "observed_at"), columns, strict=True))))
    return pa.concat_tables(parts) if parts else pa.table({"id": [], "time": []})
