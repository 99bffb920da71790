"""The first half of a run: one profile for every partition that has changed, then the watermark.

Each profile is made of all rows of its partition, so that a second time, an overlap or a killed run change nothing.
A partition with many rows is cut into slices of time (`slices`), the tasks of an engine: one hour of one version can be
the work of a whole cluster. They are joined here, in their order, so that every engine leaves the same profiles.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import NamedTuple

import msgspec

from beacon_core.data import profiles, watermarks
from beacon_core.data.database import Connection, Engine
from beacon_core.data.prediction_log import partitions
from beacon_core.data.prediction_log.partitions import HOUR, Partition, TimeSpan
from beacon_core.data.prediction_log.reading import LakeSource, lake_of
from beacon_core.data.watermarks import Watermark
from beacon_core.domain.policy import large_residual
from beacon_core.domain.product import Product
from beacon_core.platform.engine import LOCAL, JobEngine
from beacon_drift_profiling.profiling import slices
from beacon_drift_profiling.profiling.aggregates import ALL
from beacon_drift_profiling.profiling.log import LakeActuals, read_partition, slice_of
from beacon_drift_profiling.profiling.packages import NoReference, Reference
from beacon_drift_profiling.profiling.partition_profile import NAMED, ProfileBounds, ProfileResult, joined
from beacon_drift_profiling.profiling.slice_tasks import (
    SliceProfile,
    SliceTask,
    SliceWork,
    profile_batches,
    profile_task,
)

JOB = "profile"
Load = Callable[[str, str], Reference | NoReference]


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
    per_segment: bool,
    jobs: JobEngine = LOCAL,
) -> ProfilingCounts:
    """Profile what has changed, and those of the last `span`'s partitions that have other bins than now.

    `jobs` profiles the slices of a lake. Moves the watermark at the end. Raises `SQLAlchemyError` if the store fails.
    """
    with engine.connect() as connection:
        watermark = watermarks.read(connection, JOB)
        changed = partitions.changed_partitions(connection, watermark, product.policy.evidence)
        since = now - span
        names = {partition.model_version for partition in changed.partitions}
        names.update(profiles.versions(connection, since, now + HOUR))
        bins_digests = {name: bins_digest_of(references.of(connection, name)) for name in names}
        due = changed.partitions | profiles.with_other_bins(connection, since, bins_digests)
    done = ProfilingCounts(undated=changed.undated)
    profiler = _Profiler(engine, product, references, per_segment, done, jobs)
    profiler.profile(sorted(due), now)
    reached = Watermark(_earlier(changed.logged_at, now), _earlier(changed.received_at, now))
    with engine.begin() as connection:
        watermarks.write(connection, JOB, reached)
    return done


def hour_of(moment: datetime) -> datetime:
    """The hour that a moment falls in."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


class _CutPartition(NamedTuple):
    """A partition and its slices."""

    partition: Partition
    spans: list[TimeSpan]


class _Profiler:
    """Makes the profiles of partitions, and counts in `done` what it did."""

    def __init__(
        self,
        engine: Engine,
        product: Product,
        references: References,
        per_segment: bool,
        done: ProfilingCounts,
        jobs: JobEngine,
    ) -> None:
        self._engine = engine
        self._product = product
        self._references = references
        self._per_segment = per_segment
        self._done = done
        self._jobs = jobs
        self._actuals = LakeActuals()

    def profile(self, due: Sequence[Partition], now: datetime) -> None:
        """Profile each partition slice by slice, and store the whole."""
        cut = [self._cut(partition) for partition in due]
        results = self._profiles(cut)
        for partition, spans in cut:
            before = self._done.rows
            self._store(partition, joined(islice(results, len(spans))))
            if partition.hour > now:
                self._done.ahead += self._done.rows - before

    def _cut(self, partition: Partition) -> _CutPartition:
        with self._engine.connect() as connection:
            return _CutPartition(partition, slices.cut(partition, partitions.logged_rows(connection, partition)))

    def _profiles(self, cut: Sequence[_CutPartition]) -> Iterator[ProfileResult]:
        """The profiles of all slices, one after the other."""
        with self._engine.connect() as connection:
            source = lake_of(connection)
        if source is None:
            found = self._of_database(cut)
        else:
            profile = partial(profile_task, self._product, self._per_segment)
            found = self._jobs.run(profile, self._tasks(source, cut))
        for made in found:
            self._done.rows += made.result.rows
            self._done.set_aside += made.result.content.set_aside
            self._done.set_aside_ids += made.set_aside_ids[: NAMED - len(self._done.set_aside_ids)]
            yield made.result

    def _of_database(self, cut: Sequence[_CutPartition]) -> Iterator[SliceProfile]:
        for partition, spans in cut:
            work = self._work(partition)
            for span in spans:
                with self._engine.connect() as connection:
                    batches = read_partition(connection, partition, self._product, work.features, span)
                    yield profile_batches(work, batches, self._product, self._per_segment)

    def _tasks(self, source: LakeSource, cut: Sequence[_CutPartition]) -> Iterator[SliceTask]:
        for partition, spans in cut:
            work = self._work(partition)
            with source.begin() as handle:
                for span in spans:
                    rows = slice_of(partition, self._product, span)
                    with self._engine.connect() as connection:
                        own = self._actuals.of(connection, source, partition, rows)
                    yield SliceTask(work, handle, rows, own.within(*span))

    def _work(self, partition: Partition) -> SliceWork:
        reference = self._reference(partition)
        features = reference.features if isinstance(reference, Reference) else self._product.features
        bounds = bounds_of(reference, self._product)
        return SliceWork(partition.hour, features, bounds, bins_digest_of(reference))

    def _store(self, partition: Partition, made: ProfileResult) -> None:
        content = made.content
        with self._engine.connect() as connection:
            stored = profiles.digest_of(connection, partition)
        if content.digest == stored or (stored is not None and not made.rows and not content.set_aside):
            # Rows that the log no longer holds stay profiled.
            self._done.unchanged += 1
            return
        # The whole comes last: its digest says that the partition is done.
        for name, profile in sorted(made.profiles.items(), key=lambda item: item[0] == profiles.WHOLE):
            aggregates = content.segments.get(name, {})
            own = content
            if name != profiles.WHOLE:
                own = msgspec.structs.replace(content, segments={ALL: aggregates}, clients={})
            profiles.put(self._engine, partition, name, profile.serialize(), int(aggregates.get("rows", 0)), own)
            self._done.profiles += 1

    def _reference(self, partition: Partition) -> Reference | NoReference:
        with self._engine.connect() as connection:
            return self._references.of(connection, partition.model_version)


def bounds_of(reference: Reference | NoReference, product: Product) -> ProfileBounds:
    """What a version's reference says of its rows."""
    large = large_residual(product.policy.quality, expected_error(reference))
    if isinstance(reference, Reference):
        target = reference.manifest.schema.target.name
        return ProfileBounds(target, reference.bins, reference.normal_range(), large)
    return ProfileBounds(product.target.name, {}, None, large)


def expected_error(reference: Reference | NoReference) -> float:
    """The mean absolute error that a version expects of itself; infinite where that is not known."""
    return reference.manifest.expected_absolute_error if isinstance(reference, Reference) else math.inf


def bins_digest_of(reference: Reference | NoReference) -> str:
    """The name of a version's bins; empty without a reference."""
    return reference.bins_digest if isinstance(reference, Reference) else ""


def _earlier(moment: datetime | None, now: datetime) -> datetime | None:
    return None if moment is None else min(moment, now)
