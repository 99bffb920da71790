"""The first half of a run: one profile for every partition that has changed, then the watermark.

Each profile is made of all rows of its partition, so that a second time, an overlap or a killed run change nothing.
Every partition is the work of one shard, so that any number of shards leaves the same profiles.
"""

import math
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec

from beacon_core.data import profiles, watermarks
from beacon_core.data.database import Connection, Engine
from beacon_core.data.prediction_log import partitions
from beacon_core.data.prediction_log.partitions import HOUR, Partition
from beacon_core.data.profiles import ProfileContent
from beacon_core.data.watermarks import Watermark
from beacon_core.domain.policy import large_residual
from beacon_core.domain.product import Product
from beacon_drift_profiling.profiling.aggregates import ALL
from beacon_drift_profiling.profiling.client_rows import largest
from beacon_drift_profiling.profiling.log import read_partition
from beacon_drift_profiling.profiling.packages import NoReference, Reference
from beacon_drift_profiling.profiling.partition_profile import NAMED, PartitionProfile, ProfileBounds

JOB = "profile"
Load = Callable[[str, str], Reference | NoReference]


class Shard(msgspec.Struct, frozen=True):
    """Which part of the partitions this process takes: number `index` (from 0) of `count`."""

    index: int = 0
    count: int = 1

    def takes(self, partition: Partition) -> bool:
        """Whether a partition is this shard's."""
        return zlib.crc32(f"{partition.model_version}/{partition.hour.isoformat()}".encode()) % self.count == self.index


class ProfilingCounts(msgspec.Struct):
    """What a run did. `ahead` counts rows whose hour lies in the future: a clock is ahead."""

    rows: int = 0
    profiles: int = 0
    unchanged: int = 0
    set_aside: int = 0
    set_aside_ids: list[str] = []
    undated: int = 0
    ahead: int = 0


class References:
    """The references of the versions in the log, each loaded once per run, by the digest of its newest prediction."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._found: dict[str, Reference | NoReference] = {}

    def of(self, connection: Connection, version: str) -> Reference | NoReference:
        """Return a version's reference, or why there is none."""
        if version not in self._found:
            sha256 = partitions.newest_digest(connection, version)
            missing = NoReference(version, "no row of it is left in the log")
            self._found[version] = missing if sha256 is None else self._load(version, sha256)
        return self._found[version]


def profile_log(
    engine: Engine,
    product: Product,
    references: References,
    now: datetime,
    span: timedelta,
    shard: Shard,
    per_segment: bool,
) -> ProfilingCounts:
    """Profile every partition that has changed, and those of the last `span` whose bins are not the reference's.

    Moves the watermark at the end. Raises `SQLAlchemyError` where the store fails.
    """
    with engine.connect() as connection:
        watermark = watermarks.read(connection, JOB)
        changed = partitions.changed_partitions(connection, watermark, product.policy.evidence)
        since = now - span
        names = {partition.model_version for partition in changed.partitions}
        names.update(profiles.versions(connection, since, now + HOUR))
        bins_digests = {name: _bins_digest(references.of(connection, name)) for name in names}
        due = changed.partitions | profiles.with_other_bins(connection, since, bins_digests)
    done = ProfilingCounts(undated=changed.undated)
    for partition in sorted(due):
        if not shard.takes(partition):
            continue
        rows = _profile_partition(engine, product, references, partition, per_segment, done)
        if partition.hour > now:
            done.ahead += rows
    reached = Watermark(_earlier(changed.logged_at, now), _earlier(changed.received_at, now), hour_of(now))
    with engine.begin() as connection:
        watermarks.write(connection, JOB if shard.count == 1 else _shard_job(shard), reached)
    return done


def all_shards_done(engine: Engine, now: datetime, count: int) -> bool:
    """Whether every shard has done this hour's run; if so, the watermark moves to where the slowest began."""
    if count == 1:
        return True
    period = hour_of(now)
    with engine.begin() as connection:
        of_shards = [watermarks.read(connection, _shard_job(Shard(index, count))) for index in range(count)]
        if any(watermark.period != period for watermark in of_shards):
            return False
        logged = [watermark.logged_at for watermark in of_shards if watermark.logged_at]
        received = [watermark.received_at for watermark in of_shards if watermark.received_at]
        slowest = Watermark(min(logged, default=None), min(received, default=None), period)
        watermarks.write(connection, JOB, slowest)
    return True


def hour_of(moment: datetime) -> datetime:
    """The hour that a moment falls in."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _profile_partition(
    engine: Engine,
    product: Product,
    references: References,
    partition: Partition,
    per_segment: bool,
    done: ProfilingCounts,
) -> int:
    with engine.connect() as connection:
        reference = references.of(connection, partition.model_version)
        features = reference.features if isinstance(reference, Reference) else product.features
        made = PartitionProfile(partition.hour, product, _bounds(reference, product), per_segment)
        for batch in read_partition(connection, partition, product, features):
            made.add(batch)
        stored = profiles.digest_of(connection, partition)
    done.set_aside += made.set_aside
    done.set_aside_ids += made.set_aside_ids[: NAMED - len(done.set_aside_ids)]
    done.rows += made.rows
    bins_digest = _bins_digest(reference)
    digest = made.digest(bins_digest)
    if digest == stored or (stored is not None and not made.rows and not made.set_aside):
        # Rows that the log no longer holds stay profiled.
        done.unchanged += 1
        return made.rows
    labelled = made.segments.get(ALL, {}).get("labelled", 0.0)
    content = ProfileContent(digest, bins_digest, made.set_aside, labelled, made.segments, largest(made.clients))
    # The whole comes last: its digest says that the partition is done.
    for name, profile in sorted(made.profiles().items(), key=lambda item: item[0] == profiles.WHOLE):
        aggregates = made.segments.get(name, {})
        own = content
        if name != profiles.WHOLE:
            own = msgspec.structs.replace(content, segments={ALL: aggregates}, clients={})
        profiles.put(engine, partition, name, profile.serialize(), int(aggregates.get("rows", 0)), own)
        done.profiles += 1
    return made.rows


def _bounds(reference: Reference | NoReference, product: Product) -> ProfileBounds:
    large = large_residual(product.policy.quality, expected_error(reference))
    if isinstance(reference, Reference):
        target = reference.manifest.schema.target.name
        return ProfileBounds(target, reference.bins, reference.normal_range(), large)
    return ProfileBounds(product.target.name, {}, None, large)


def expected_error(reference: Reference | NoReference) -> float:
    """The mean absolute error that a version expects of itself; infinite where that is not known."""
    return reference.manifest.expected_absolute_error if isinstance(reference, Reference) else math.inf


def _bins_digest(reference: Reference | NoReference) -> str:
    return reference.bins_digest if isinstance(reference, Reference) else ""


def _shard_job(shard: Shard) -> str:
    return f"{JOB}/{shard.index}/{shard.count}"


def _earlier(moment: datetime | None, now: datetime) -> datetime | None:
    return None if moment is None else min(moment, now)
