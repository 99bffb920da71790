"""The prediction log by partition, as drift profiling reads it: which partitions have changed, and what is in one.

Only rows that count are read (`beacon_core.data.evidence`).

A partition has changed when a row of it, or an actual of one, arrived since the watermark. Both are found by their
arrival and not by the prediction's time: spools ship late, and clocks differ.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Connection, Text, cast, func, select

from beacon_core.data.evidence import client_counts, counts
from beacon_core.data.prediction_log import lake_joins
from beacon_core.data.prediction_log.either import scan
from beacon_core.data.prediction_log.port import BATCH, LogSlice
from beacon_core.data.prediction_log.reading import LakeSource, lake_of
from beacon_core.data.prediction_log.which_actual import actual_id, last_before, of_last_before
from beacon_core.data.tables import actuals, predictions, traffic
from beacon_core.data.watermarks import Watermark
from beacon_core.domain.policy import Evidence

if TYPE_CHECKING:
    from beacon_core.data.prediction_log.lake import Total

# Commits are not in the order of their timestamps, and clocks differ: rows of this much time are read again.
OVERLAP = timedelta(minutes=15)
HOUR = timedelta(hours=1)
HOUR_DIGITS = 13


class Partition(msgspec.Struct, frozen=True, order=True):
    """One model version's rows of one hour: what one profile is made of."""

    hour: datetime
    model_version: str


class ChangedPartitions(msgspec.Struct, frozen=True):
    """Partitions that have changed, how far the log was read, and how many rows have no readable time."""

    partitions: frozenset[Partition]
    logged_at: datetime | None
    received_at: datetime | None
    undated: int


class PartitionRow(NamedTuple):
    """One prediction as the database has it: SQLite enforces no column types, so any value may be damaged.

    `features` and `out_of_range` (both JSON), `time` and `received_at` are text. `actual` is the value that belongs to
    it, and `received_at` when that arrived; None without one.
    """

    id: str
    features: Any
    out_of_range: Any
    prediction: Any
    low: Any
    high: Any
    latency_seconds: Any
    time: Any
    client: Any
    actual: float | None
    received_at: Any


class TimeSpan(NamedTuple):
    """A part of a partition's hour: predictions made in [since, until)."""

    since: datetime
    until: datetime


def changed_partitions(connection: Connection, since: Watermark, evidence: Evidence) -> ChangedPartitions:
    """Find the partitions that have changed since the watermark; an empty one reads the whole log."""
    if (source := lake_of(connection)) is not None:
        return _changed_in_lake(connection, source, since, evidence)
    if since.logged_at is None:
        queries = [_every_partition(connection)]
    else:
        queries = _arrived(connection, since.logged_at, since.received_at, evidence)
    partitions, undated = set(), 0
    for place, query in enumerate(queries):
        for text, version, count in connection.execute(query):
            hour = _read_hour(text)
            if hour is not None:
                partitions.add(Partition(hour, version))
            elif place == 0:
                undated += count
    logged = connection.execute(select(func.max(predictions.c.logged_at))).scalar()
    received = connection.execute(select(func.max(actuals.c.received_at))).scalar()
    return ChangedPartitions(frozenset(partitions), logged, received, undated)


def _changed_in_lake(
    connection: Connection, source: LakeSource, since: Watermark, evidence: Evidence
) -> ChangedPartitions:
    with source.begin() as handle:
        from beacon_core.data.prediction_log import lake  # noqa: PLC0415 - only where there is one

        totals = lake.totals(handle)
    received = connection.execute(select(func.max(actuals.c.received_at))).scalar()
    logged = max((total.logged_at for total in totals), default=None)
    if since.logged_at is None:
        return ChangedPartitions(
            frozenset(Partition(one.hour, one.model_version) for one in totals), logged, received, 0
        )
    logged_since = since.logged_at - OVERLAP
    found = {
        Partition(one.hour, one.model_version)
        for one in totals
        if one.logged_at >= logged_since and client_counts(one.client, evidence)
    }
    received_since = None if since.received_at is None else since.received_at - OVERLAP
    logged_at = since.logged_at

    def queries(scratch: Connection) -> list[Any]:
        return _arrived(scratch, logged_at, since.received_at, evidence)[1:]

    for text, version, _ in lake_joins.changed_by(connection, source, queries, logged_since, received_since):
        if (hour := _read_hour(text)) is not None:
            found.add(Partition(hour, version))
    return ChangedPartitions(frozenset(found), logged, received, 0)


def rows_of(
    connection: Connection, partition: Partition, evidence: Evidence, span: TimeSpan | None = None
) -> Iterator[list[Any]]:
    """Yield one partition's rows, or those of a part of it, in batches, in order of their ids, each with its actual.

    They are those of the database's table: a lake has columns, of which whoever reads them makes no rows. The rows are
    tuples of the columns of `PartitionRow`: to make one of each would cost as much as to read it.
    """
    columns = predictions.c
    own = actuals.c.id == actual_id(columns.id, columns.entity, columns.time, evidence)
    query = select(
        columns.id,
        cast(columns.features, Text),
        cast(columns.out_of_range, Text),
        columns.prediction,
        columns.low,
        columns.high,
        columns.latency_seconds,
        cast(columns.time, Text),
        columns.client,
        actuals.c.value,
        cast(actuals.c.received_at, Text),
    ).outerjoin_from(predictions, actuals, own)
    query = query.where(*_within(partition, span), counts(predictions, evidence)).order_by(columns.id)
    for batch in connection.execute(query, execution_options={"yield_per": BATCH}).partitions():
        yield list(batch)


def logged_rows(connection: Connection, partition: Partition) -> int:
    """How many rows of a partition came into the log, as its store counts them; some may be gone since."""
    if lake_of(connection) is not None:
        return sum(total.rows for total in _totals(connection, partition))
    counted = select(func.coalesce(func.sum(traffic.c.predictions), 0)).where(
        traffic.c.hour == partition.hour, traffic.c.model_version == partition.model_version
    )
    return int(connection.execute(counted).scalar_one())


def recent_actuals(connection: Connection, partition: Partition) -> int:
    """How many actuals may be of a partition's predictions, or of later ones."""
    since = partition.hour
    recent = (actuals.c.received_at >= since - lake_joins.CLOCKS) | (actuals.c.observed_at >= since)
    return int(connection.execute(select(func.count()).select_from(actuals).where(recent)).scalar_one())


def newest_digest(connection: Connection, model_version: str) -> str | None:
    """Return the package digest of a version's newest prediction; None where no row of it is in the log."""
    newest = scan(connection, LogSlice(model_version=model_version), ["model_sha256"], newest_first=True, limit=1)
    return next((digest for batch in newest for (digest,) in batch), None)


def last_logged(connection: Connection, partition: Partition) -> datetime | None:
    """When the last row of a partition came into the log; None where it has none."""
    if lake_of(connection) is not None:
        return max((total.logged_at for total in _totals(connection, partition)), default=None)
    newest = select(func.max(predictions.c.logged_at)).where(*_within(partition))
    found: datetime | None = connection.execute(newest).scalar()
    return found


def _totals(connection: Connection, partition: Partition) -> "list[Total]":
    """What the lake's files have of a partition."""
    source = lake_of(connection)
    assert source is not None  # noqa: S101 - the caller has looked
    with source.begin() as handle:
        from beacon_core.data.prediction_log import lake  # noqa: PLC0415 - only where there is one

        wanted = (partition.hour, partition.model_version)
        return [total for total in lake.totals(handle) if (total.hour, total.model_version) == wanted]


def _arrived(
    connection: Connection, logged_since: datetime, received_since: datetime | None, evidence: Evidence
) -> list[Any]:
    """Query by what the partitions have changed.

    By rows, by actuals of an id, by actuals of an entity, and by rows that take over an actual of an earlier row.
    """
    partition = (_hour(connection, predictions.c.time), predictions.c.model_version)
    labelled = [] if received_since is None else [actuals.c.received_at >= received_since - OVERLAP]
    of_rows = select(*partition, func.count()).where(predictions.c.logged_at >= logged_since - OVERLAP)
    counted = select(*partition, func.count())
    by_id = counted.join_from(actuals, predictions, predictions.c.id == actuals.c.prediction_id)
    # A prediction that comes late may take an actual of its entity from the one before.
    by_entity = counted.join_from(actuals, predictions, of_last_before(evidence))
    late = predictions.alias("late")
    before = last_before(late.c.entity, late.c.time, evidence, inclusive=False)
    same = (predictions.c.entity == late.c.entity) & (predictions.c.time == before)
    follows = select(actuals.c.id).where(actuals.c.entity == late.c.entity, actuals.c.observed_at >= late.c.time)
    taken = counted.join_from(late, predictions, same)
    taken = taken.where(follows.exists(), late.c.logged_at >= logged_since - OVERLAP, counts(late, evidence))
    queries = (of_rows, by_id.where(*labelled), by_entity.where(*labelled), taken)
    return [query.where(counts(predictions, evidence)).group_by(*partition) for query in queries]


def _every_partition(connection: Connection) -> Any:
    """Every partition. A scan of a large log would run into PostgreSQL's time limit; `traffic` has them counted."""
    table, time = (traffic, traffic.c.hour) if _is_postgresql(connection) else (predictions, predictions.c.time)
    partition = (_hour(connection, time), table.c.model_version)
    return select(*partition, func.count()).group_by(*partition)


def _within(partition: Partition, span: TimeSpan | None = None) -> tuple[ColumnElement[bool], ...]:
    columns = predictions.c
    since, until = span or TimeSpan(partition.hour, partition.hour + HOUR)
    return columns.time >= since, columns.time < until, columns.model_version == partition.model_version


def _hour(connection: Connection, column: Any) -> ColumnElement[str]:
    if _is_postgresql(connection):
        return func.to_char(func.timezone("UTC", column), "YYYY-MM-DD HH24")
    return func.substr(cast(column, Text), 1, HOUR_DIGITS)


def _is_postgresql(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql"


def _read_hour(text: str | None) -> datetime | None:
    try:
        return datetime.strptime(str(text), "%Y-%m-%d %H").replace(tzinfo=UTC)
    except ValueError:
        return None
