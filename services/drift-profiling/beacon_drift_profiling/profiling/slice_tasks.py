"""Slices of the lake as tasks of an engine: each has all that its profile is made of, and needs no database."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from beacon_core.data.prediction_log import LogSlice
from beacon_core.domain.feature import Feature
from beacon_core.domain.product import Product
from beacon_drift_profiling.profiling.feature_reader import PartitionRows
from beacon_drift_profiling.profiling.log import read_lake_slice
from beacon_drift_profiling.profiling.partition_profile import PartitionProfile, ProfileBounds, ProfileResult

if TYPE_CHECKING:
    from beacon_core.data.prediction_log.lake import LakeHandle
    from beacon_drift_profiling.profiling.log_lake import RowActuals


class SliceProfile(NamedTuple):
    """What a slice came to, and some of the ids that were set aside."""

    result: ProfileResult
    set_aside_ids: list[str]


class SliceWork(NamedTuple):
    """How the rows of a slice are profiled: its hour, the model's features, and what its reference says of them."""

    hour: datetime
    features: Sequence[Feature]
    bounds: ProfileBounds
    bins_digest: str


class SliceTask(NamedTuple):
    """A slice of the lake: where its rows are read, and their actuals."""

    work: SliceWork
    handle: "LakeHandle"
    rows: LogSlice
    actuals: "RowActuals"


def profile_task(product: Product, per_segment: bool, task: SliceTask) -> Iterator[SliceProfile]:
    """Profile a slice of the lake."""
    batches = read_lake_slice(task.handle, task.rows, task.actuals, product, task.work.features)
    yield profile_batches(task.work, batches, product, per_segment)


def profile_batches(
    work: SliceWork, batches: Iterable[PartitionRows], product: Product, per_segment: bool
) -> SliceProfile:
    """Profile the rows of a slice, batch by batch."""
    made = PartitionProfile(work.hour, product, work.bounds, per_segment)
    for batch in batches:
        made.add(batch)
    return SliceProfile(made.result(work.bins_digest), made.set_aside_ids)
