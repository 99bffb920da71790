"""Traffic in the prediction log: how many predictions, how fast, and which model version answered when.

Every query costs a few index seeks, the newest rows, or the store's own counts: the log's size does not matter.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from beacon_core.data.prediction_log.port import LogSlice
from beacon_core.data.prediction_log.sql import scan
from beacon_core.data.tables import predictions, traffic


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
    query = select(func.coalesce(func.sum(traffic.c.predictions), 0))
    if version is not None:
        query = query.where(traffic.c.model_version == version)
    return int(connection.execute(query).scalar_one())
