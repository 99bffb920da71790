"""Slices of a partition: an hour with many rows is cut by time, so that several shards can share it.

A shard stores what it made of a slice as a row of the profile repository; the last shard joins these rows and deletes
them. Which slices there are follows from the hour and their number alone.
"""

import math
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from beacon_core.data import profiles
from beacon_core.data.database import Connection, Engine
from beacon_core.data.prediction_log.partitions import HOUR, Partition, TimeSpan
from beacon_drift_profiling.profiling.partition_profile import ProfileResult
from beacon_drift_profiling.profiling.profile import Profile, ProfileError

SLICE_ROWS = 250_000
"""A slice has about so many rows where they come evenly: what a database sorts at once, and a shard repeats if killed.

One with more rows takes longer, and no more memory: rows are read in batches.
"""
MOST_SLICES = 3600
PERIOD = "%Y%m%d%H"


class SliceName(NamedTuple):
    """A slice: the run's hour, and which of how many slices of its partition it is."""

    period: datetime
    number: int
    total: int


def cut(partition: Partition, rows: int) -> list[TimeSpan]:
    """Cut a partition with about so many rows."""
    return cut_into(partition, min(max(math.ceil(rows / SLICE_ROWS), 1), MOST_SLICES))


def cut_into(partition: Partition, count: int) -> list[TimeSpan]:
    """Cut a partition into slices of equal time."""
    edges = [partition.hour + HOUR * number / count for number in range(count + 1)]
    return [TimeSpan(*edges[number : number + 2]) for number in range(count)]


def put(engine: Engine, partition: Partition, name: SliceName, result: ProfileResult) -> None:
    """Store what a slice came to."""
    content = {segment: profile.serialize() for segment, profile in result.profiles.items()}
    profiles.put(engine, partition, _text(name), msgspec.msgpack.encode(content), result.rows, result.content)


def get(engine: Engine, partition: Partition, name: SliceName) -> ProfileResult:
    """Read a slice that is stored; raises `ProfileError`."""
    try:
        with engine.connect() as connection:
            serialized, content = profiles.get(connection, partition, _text(name))
        found = msgspec.msgpack.decode(serialized, type=dict[str, bytes])
    except msgspec.MsgspecError as error:
        raise ProfileError(f"{partition.model_version} {partition.hour}: {error}") from error
    return ProfileResult({segment: Profile.read(own) for segment, own in found.items()}, content)


def waiting(connection: Connection) -> dict[Partition, list[SliceName]]:
    """The slices that are not joined yet."""
    return {partition: [_read(name) for name in names] for partition, names in profiles.slices(connection).items()}


def _text(name: SliceName) -> str:
    return f"{profiles.SLICE}{name.period.strftime(PERIOD)}/{name.number}/{name.total}"


def _read(text: str) -> SliceName:
    period, number, count = text.removeprefix(profiles.SLICE).split("/")
    return SliceName(datetime.strptime(period, PERIOD).replace(tzinfo=UTC), int(number), int(count))
