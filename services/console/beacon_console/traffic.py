"""What the prediction log tells of traffic: how many, how fast, and which model version answers since when.

Every query costs a few index seeks, the newest rows, or the store's own counts: the log's size does not matter.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from beacon_core.data.tables import predictions, traffic

DAY_HOURS = 24
NEWEST = 5000
"""Latency quantiles are taken over this many of the newest predictions of the last day."""


class Hour(NamedTuple):
    """How many predictions were made in the hour from `start`."""

    start: datetime
    predictions: int


class Latency(NamedTuple):
    """Time inference took, in seconds, over the newest `rows` predictions; `fast` is the share within the promise."""

    rows: int
    median: float
    p95: float
    p99: float
    fast: float


class Version(NamedTuple):
    """A model version in the log, and when it answered first and last."""

    version: str
    first: datetime
    last: datetime


class Serving(NamedTuple):
    """The version that answered last, its package's digest, and since when no other did."""

    version: str
    sha256: str
    since: datetime
    last: datetime


def hours_of(connection: Connection, now: datetime, count: int = DAY_HOURS) -> list[Hour]:
    """Count the predictions of the last `count` hours, the hour at hand last."""
    begin = now.replace(minute=0, second=0, microsecond=0)
    starts = [begin - timedelta(hours=back) for back in range(count - 1, -1, -1)]
    query = (
        select(traffic.c.hour, func.sum(traffic.c.predictions))
        .where(traffic.c.hour >= starts[0], traffic.c.hour <= begin)
        .group_by(traffic.c.hour)
    )
    found = dict(connection.execute(query).all())
    return [Hour(start, int(found.get(start, 0))) for start in starts]


def latency_of(connection: Connection, now: datetime, promise: float) -> Latency | None:
    """Measure the newest predictions of the last day; None when there are none."""
    query = (
        select(predictions.c.latency_seconds)
        .where(predictions.c.time >= now - timedelta(hours=DAY_HOURS))
        .order_by(predictions.c.time.desc())
        .limit(NEWEST)
    )
    values = sorted(connection.execute(query).scalars())
    if not values:
        return None
    fast = sum(value <= promise for value in values) / len(values)
    return Latency(len(values), _quantile(values, 0.5), _quantile(values, 0.95), _quantile(values, 0.99), fast)


def _quantile(ascending: Sequence[float], share: float) -> float:
    return ascending[min(int(share * len(ascending)), len(ascending) - 1)]


def versions_of(connection: Connection) -> list[Version]:
    """Name every model version in the log, the one that answered last first.

    Walks the index from version to version, as neither SQLite nor PostgreSQL does by itself.
    """
    column = predictions.c.model_version
    names = select(func.min(column).label("name")).cte("names", recursive=True)
    following = select(func.min(column)).where(column > names.c.name).correlate(names).scalar_subquery()
    names = names.union_all(select(following).where(names.c.name.is_not(None)))
    edges = [_edge(names.c.name, name) for name in ("min", "max")]
    query = select(names.c.name, *edges).where(names.c.name.is_not(None))
    found = [Version(*row) for row in connection.execute(query)]
    return sorted(found, key=lambda version: version.last, reverse=True)


def _edge(name: object, which: str) -> object:
    """First or last time of a version, as a typed scalar."""
    edge = getattr(func, which)(predictions.c.time)
    return select(edge).where(predictions.c.model_version == name).scalar_subquery()


def serving_of(connection: Connection, versions: Sequence[Version]) -> Serving | None:
    """Say which version answers now; `versions` as `versions_of` gives them."""
    if not versions:
        return None
    current, *others = versions
    time = predictions.c.time
    mine = select(time).where(predictions.c.model_version == current.version)
    if others:
        mine = mine.where(time > others[0].last)
    since = connection.execute(mine.order_by(time).limit(1)).scalar() or current.first
    newest = select(predictions.c.model_sha256).where(
        predictions.c.model_version == current.version, time == current.last
    )
    sha256 = connection.execute(newest.limit(1)).scalars().one()
    return Serving(current.version, sha256, since, current.last)


def count_of(connection: Connection, version: str) -> int:
    """Count the predictions of a version."""
    query = select(func.coalesce(func.sum(traffic.c.predictions), 0)).where(traffic.c.model_version == version)
    return int(connection.execute(query).scalar_one())
