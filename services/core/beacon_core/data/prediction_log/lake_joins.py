"""The log in the lake, joined with the actuals in the database: the same answers as the modules of the table give.

The rows that any actual may belong to come into a table of the connection's own (`staging`), where the rule of
`which_actual` is asked; whole rows are then read from the lake by their ids and times.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, select

from beacon_core.data.prediction_log.port import BATCH, LogSlice
from beacon_core.data.prediction_log.reading import LakeSource
from beacon_core.data.prediction_log.staging import staged
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
    """The actual that belongs to a prediction."""

    value: float
    observed_at: datetime
    received_at: datetime


def told(connection: Connection, *conditions: ColumnElement[bool]) -> Told:
    """What actuals are of, each once."""
    return Told(
        _distinct(connection, actuals.c.prediction_id, *conditions), _distinct(connection, actuals.c.entity, *conditions)
    )


def _distinct(connection: Connection, column: Any, *conditions: ColumnElement[bool]) -> list[str]:
    return list(connection.scalars(select(column).where(column.is_not(None), *conditions).distinct()))


def labelled_rows(
    connection: Connection, source: LakeSource, evidence: Evidence, columns: Sequence[str]
) -> Iterator[list[tuple[Any, ...]]]:
    """Yield those columns of every labelled prediction that counts, and `value` and `observed_at` of its actual."""
    from beacon_core.data.prediction_log import lake  # noqa: PLC0415 - only where there is one

    with source.begin() as handle:
        table = predictions.c
        found = labelled(table.id, table.time, evidence=evidence)
        query = select(found.c.id, found.c.time, found.c.value, found.c.observed_at)
        with staged(connection, _candidates(handle, told(connection), (), ANY_TIME), OF_RULE):
            labels = _as_table(connection, query)
        for rows in lake.joined(handle, labels, columns, BATCH):
            yield lake.tuples(rows, [*columns, "value", "observed_at"])


def query_labelled(
    connection: Connection, source: LakeSource, query: Select[Any], columns: Sequence[str], since: datetime, after: int
) -> list[Any]:
    """Ask a query of `labelled` that reads the actuals after the one of that number, and predictions since then."""
    some = told(connection, actuals.c.id > after)
    with (
        source.begin() as handle,
        staged(connection, _candidates(handle, some, columns, LogSlice(since=since)), (*OF_RULE, *columns)),
    ):
        return list(connection.execute(query))


def actuals_of(
    connection: Connection, source: LakeSource, rows: LogSlice, evidence: Evidence
) -> dict[str, OwnActual]:
    """The actuals of the predictions of a slice, which says from when on, by the ids of those that have one."""
    assert rows.since is not None  # noqa: S101 - every caller has one
    since = rows.since
    names = _distinct(connection, actuals.c.prediction_id, actuals.c.received_at >= since - CLOCKS)
    persons = _distinct(connection, actuals.c.entity, actuals.c.observed_at >= since)
    if not names and not persons:
        return {}
    with source.begin() as handle:
        if persons:
            # Later predictions of the same entities take actuals, too.
            persons = _entities_of(handle, rows, persons)
        where = LogSlice(since=since) if persons else rows
        own = actuals.c.id == actual_id(predictions.c.id, predictions.c.entity, predictions.c.time, evidence)
        query = select(predictions.c.id, *[actuals.c[name] for name in OwnActual._fields])
        query = query.join_from(predictions, actuals, own)
        if rows.until is not None:
            query = query.where(predictions.c.time < rows.until)
        with staged(connection, _candidates(handle, Told(names, persons), (), where), OF_RULE):
            return {name: OwnActual(*fields) for name, *fields in connection.execute(query)}


def changed_by(
    connection: Connection,
    source: LakeSource,
    queries: Sequence[Any],
    logged_since: datetime,
    received_since: datetime | None,
) -> list[Any]:
    """Ask queries of rows whose actuals have changed: by actuals received, and by rows logged, since these moments."""
    arrived = () if received_since is None else (actuals.c.received_at >= received_since,)
    names, persons = told(connection, *arrived)
    with source.begin() as handle:
        known = _distinct(connection, actuals.c.entity)
        late = _entities_of(handle, LogSlice(logged_since=logged_since), known) if known else []
        some = Told(names, sorted({*persons, *late}))
        columns = ("model_version", "logged_at")
        with staged(connection, _candidates(handle, some, columns, ANY_TIME), (*OF_RULE, *columns)):
            return [row for query in queries for row in connection.execute(query)]


def _candidates(
    handle: "LakeHandle", some: Told, columns: Sequence[str], rows: LogSlice
) -> "Iterator[pa.Table]":
    from beacon_core.data.prediction_log import lake  # noqa: PLC0415

    return lake.candidates(handle, some.ids, some.entities, ("client", *columns), rows)


def _entities_of(handle: "LakeHandle", rows: LogSlice, some: Sequence[str]) -> list[str]:
    """Those of the entities that have a prediction in the slice."""
    from beacon_core.data.prediction_log import lake  # noqa: PLC0415

    found: set[str] = set()
    for table in lake.candidates(handle, [], some, (), rows):
        found.update(table["entity"].unique().to_pylist())
    return sorted(found)


def _as_table(connection: Connection, query: Any) -> "pa.Table":
    """The ids, times, values and times of observation that a query finds, without an object for each."""
    import pyarrow as pa  # noqa: PLC0415

    from beacon_core.data.prediction_log import lake  # noqa: PLC0415

    parts = []
    for batch in connection.execute(query, execution_options={"yield_per": BATCH}).partitions():
        names, times, values, observed = zip(*batch, strict=True)
        columns = (pa.array(names, pa.large_string()), lake.moments(times), pa.array(values), lake.moments(observed))
        parts.append(pa.table(dict(zip(("id", "time", "value", "observed_at"), columns, strict=True))))
    return pa.concat_tables(parts) if parts else pa.table({"id": [], "time": []})
