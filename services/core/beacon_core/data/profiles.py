"""The profile repository: serialized profiles by model version, hour and segment, with the aggregates beside them."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, and_, func, select

from beacon_core.data.database import upsert
from beacon_core.data.prediction_log.partitions import Partition
from beacon_core.data.tables import profiles
from beacon_core.platform import clock

WHOLE, DAY_ROLL = "", "day"
"""Names that stand in the place of a segment: all rows of a partition, and all rows of a day."""
LOCK = "drift"
"""The lock of who changes profiles (`run_lock`): a run of drift profiling, and an erasure."""

Aggregates = dict[str, float]
"""Sums over rows, by name (beacon_drift_profiling.profiling.aggregates)."""


class ClientRows(msgspec.Struct, frozen=True):
    """What the rows of one client add to a profile: their aggregates, and by column their counts in the bins."""

    sums: Aggregates
    bins: dict[str, list[float]]


class ProfileContent(msgspec.Struct, frozen=True):
    """What the column `sums` holds: what the profile was made of, and the aggregates by segment.

    `digest` is of the rows that went in; `bins_digest` names the bins ("" is none). `clients` are those with the most
    rows, by name.
    """

    digest: str
    bins_digest: str
    set_aside: int
    labelled: float
    segments: dict[str, Aggregates]
    clients: dict[str, ClientRows] = {}


def put(
    engine: Engine, partition: Partition, segment: str, serialized: bytes, rows: int, content: ProfileContent
) -> None:
    """Store a profile in place of the one that was there."""
    row = {
        "model_version": partition.model_version,
        "hour": partition.hour,
        "segment": segment,
        "rows": rows,
        "bytes": serialized,
        "sums": msgspec.to_builtins(content),
        "profiled_at": clock.now(),
    }
    with engine.begin() as connection:
        upsert(connection, profiles, ("model_version", "hour", "segment"), row)


def get(connection: Connection, partition: Partition, segment: str = WHOLE) -> tuple[bytes, ProfileContent]:
    """Return a profile that is there; raises `msgspec.ValidationError` for content of another shape."""
    query = select(profiles.c.bytes, profiles.c.sums).where(*_key(partition, segment))
    serialized, content = connection.execute(query).one()
    return serialized, msgspec.convert(content, ProfileContent)


def digest_of(connection: Connection, partition: Partition, segment: str = WHOLE) -> str | None:
    """Return what a stored profile was made of; None where there is none."""
    query = select(profiles.c.sums["digest"].as_string()).where(*_key(partition, segment))
    digest: str | None = connection.execute(query).scalar()
    return digest


def digests(
    connection: Connection, model_version: str, bins_digest: str, since: datetime, until: datetime
) -> dict[datetime, str]:
    """Map each hour whose profile has rows and these bins to what it was made of."""
    digest, made_with = profiles.c.sums["digest"].as_string(), profiles.c.sums["bins_digest"].as_string()
    query = select(profiles.c.hour, digest).where(
        profiles.c.model_version == model_version,
        profiles.c.segment == WHOLE,
        profiles.c.hour >= since,
        profiles.c.hour < until,
        profiles.c.rows > 0,
        made_with == bins_digest,
    )
    return {row[0]: row[1] for row in connection.execute(query)}


def with_other_bins(connection: Connection, since: datetime, bins_digests: Mapping[str, str]) -> set[Partition]:
    """Find the partitions since then whose profile was made with other bins than those of their version now."""
    made_with = profiles.c.sums["bins_digest"].as_string()
    query = select(profiles.c.hour, profiles.c.model_version, made_with).where(
        profiles.c.hour >= since, profiles.c.segment == WHOLE
    )
    rows = connection.execute(query)
    return {Partition(hour, version) for hour, version, found in rows if found != bins_digests.get(version, "")}


def versions(connection: Connection, since: datetime, until: datetime) -> list[str]:
    """List the model versions with rows in those hours, the one with the newest rows at the end."""
    newest = func.max(profiles.c.hour)
    query = (
        select(profiles.c.model_version)
        .where(profiles.c.hour >= since, profiles.c.hour < until, profiles.c.segment == WHOLE, profiles.c.rows > 0)
        .group_by(profiles.c.model_version)
        .order_by(newest, profiles.c.model_version)
    )
    return list(connection.execute(query).scalars())


def hours_with_labels(
    connection: Connection, model_version: str, until: datetime, back: timedelta
) -> list[tuple[datetime, float]]:
    """List the hours with actuals and their number, the newest first."""
    labelled = profiles.c.sums["labelled"].as_float()
    query = (
        select(profiles.c.hour, labelled)
        .where(profiles.c.model_version == model_version, profiles.c.segment == WHOLE)
        .where(profiles.c.hour < until, profiles.c.hour >= until - back, labelled > 0)
        .order_by(profiles.c.hour.desc())
    )
    return [(hour, float(count)) for hour, count in connection.execute(query)]


def _key(partition: Partition, segment: str) -> tuple[Any, ...]:
    same = and_(profiles.c.model_version == partition.model_version, profiles.c.hour == partition.hour)
    return same, profiles.c.segment == segment
