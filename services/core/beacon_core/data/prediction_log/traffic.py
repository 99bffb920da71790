"""Traffic in the prediction log: how many predictions, how fast, and which model version answered when.

Every query costs a few index seeks, the newest rows, or the store's own counts: the log's size does not matter.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Connection, func, select

from beacon_core.data.prediction_log.either import scan
from beacon_core.data.prediction_log.port import LogSlice
from beacon_core.data.prediction_log.reading import LakeSource, lake_of
from beacon_core.data.tables import predictions, traffic

if TYPE_CHECKING:
    from beacon_core.data.prediction_log.lake import Total

MICROSECOND = timedelta(microseconds=1)


class HourlyTraffic(NamedTuple):
    """How many predictions were made in the hour from `start`."""

    start: datetime
    predictions: int


class VersionTraffic(NamedTuple):
    """A model version in the log, and when it answered first and last."""

    version: str
    first: datetime
    last: datetime


class CurrentVersion(NamedTuple):
    """The version that answered last, its package's digest, and since when no other did."""

    version: str
    sha256: str
    since: datetime
    last: datetime


def by_hour(connection: Connection, now: datetime, hours: int) -> list[HourlyTraffic]:
    """Count the predictions of each of the last `hours` hours, the current hour last."""
    begin = now.replace(minute=0, second=0, microsecond=0)
    starts = [begin - timedelta(hours=back) for back in range(hours - 1, -1, -1)]
    if (source := lake_of(connection)) is not None:
        counted: Counter[datetime] = Counter()
        for total in _totals(source):
            counted[total.hour] += total.rows
        return [HourlyTraffic(start, counted[start]) for start in starts]
    query = (
        select(traffic.c.hour, func.sum(traffic.c.predictions))
        .where(traffic.c.hour >= starts[0], traffic.c.hour <= begin)
        .group_by(traffic.c.hour)
    )
    found = dict(connection.execute(query).all())
    return [HourlyTraffic(start, int(found.get(start, 0))) for start in starts]


def newest_latencies(connection: Connection, since: datetime, most: int) -> list[float]:
    """Latencies in seconds of the newest predictions since a moment, at most so many."""
    newest = scan(connection, LogSlice(since=since), ["latency_seconds"], newest_first=True, limit=most)
    return [latency for batch in newest for (latency,) in batch]


def versions(connection: Connection) -> list[VersionTraffic]:
    """List every model version in the log, the one that answered last first.

    Walks the index from version to version, as neither SQLite nor PostgreSQL does by itself.
    """
    if (source := lake_of(connection)) is not None:
        edges_of: dict[str, VersionTraffic] = {}
        for total in _totals(source):
            old = edges_of.get(total.model_version, VersionTraffic(total.model_version, total.first, total.last))
            edges_of[old.version] = VersionTraffic(old.version, min(old.first, total.first), max(old.last, total.last))
        return sorted(edges_of.values(), key=lambda version: version.last, reverse=True)
    column = predictions.c.model_version
    names = select(func.min(column).label("name")).cte("names", recursive=True)
    following = select(func.min(column)).where(column > names.c.name).correlate(names).scalar_subquery()
    names = names.union_all(select(following).where(names.c.name.is_not(None)))
    edges = [_edge(names.c.name, name) for name in ("min", "max")]
    query = select(names.c.name, *edges).where(names.c.name.is_not(None))
    found = [VersionTraffic(*row) for row in connection.execute(query)]
    return sorted(found, key=lambda version: version.last, reverse=True)


def _edge(name: object, which: str) -> object:
    """First or last time of a version, as a typed scalar."""
    edge = getattr(func, which)(predictions.c.time)
    return select(edge).where(predictions.c.model_version == name).scalar_subquery()


def current_version(connection: Connection, versions: Sequence[VersionTraffic]) -> CurrentVersion | None:
    """Find the version that answers now; `versions` as the function of that name lists them."""
    if not versions:
        return None
    current, *others = versions
    if lake_of(connection) is not None:
        own_rows = LogSlice(since=others[0].last + MICROSECOND if others else None, model_version=current.version)
        first = next(
            (when for batch in scan(connection, own_rows, ["time"], limit=1) for (when,) in batch), current.first
        )
        newest_row = scan(
            connection, LogSlice(model_version=current.version), ["model_sha256"], newest_first=True, limit=1
        )
        digest = next(digest for batch in newest_row for (digest,) in batch)
        return CurrentVersion(current.version, digest, first, current.last)
    time = predictions.c.time
    own = select(time).where(predictions.c.model_version == current.version)
    if others:
        own = own.where(time > others[0].last)
    since = connection.execute(own.order_by(time).limit(1)).scalar() or current.first
    newest = select(predictions.c.model_sha256).where(
        predictions.c.model_version == current.version, time == current.last
    )
    sha256 = connection.execute(newest.limit(1)).scalars().one()
    return CurrentVersion(current.version, sha256, since, current.last)


def count(connection: Connection, version: str | None = None) -> int:
    """Count the predictions, of one version or of all."""
    if (source := lake_of(connection)) is not None:
        return sum(total.rows for total in _totals(source) if version in (None, total.model_version))
    query = select(func.coalesce(func.sum(traffic.c.predictions), 0))
    if version is not None:
        query = query.where(traffic.c.model_version == version)
    return int(connection.execute(query).scalar_one())


def _totals(source: LakeSource) -> "list[Total]":
    from beacon_core.data.prediction_log import lake  # noqa: PLC0415 - only where there is one

    with source.begin() as handle:
        return lake.totals(handle)
