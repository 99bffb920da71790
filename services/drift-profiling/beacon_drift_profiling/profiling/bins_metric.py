"""A custom metric for whylogs: exact counts of a column's values in the reference's bins, stored in the profile."""

# mypy: disable-error-code="misc,untyped-decorator"
# whylogs is untyped: its decorators and base classes are Any.

from dataclasses import dataclass
from typing import Any

import numpy as np
from whylogs.core.metrics import MetricConfig
from whylogs.core.metrics.aggregators import aggregator
from whylogs.core.metrics.deserializers import deserializer
from whylogs.core.metrics.metric_components import MetricComponent
from whylogs.core.metrics.metrics import Metric, OperationResult, register_metric
from whylogs.core.metrics.serializers import serializer
from whylogs.core.preprocessing import PreprocessedColumn
from whylogs.core.proto import MetricComponentMessage

from beacon_core.domain.exit_statuses import REFUSED
from beacon_drift_profiling.comparison.reference import bin_count, tally
from beacon_drift_profiling.comparison.statistics import Floats

EDGES_ID, COUNTS_ID = 701, 702


class BinsError(ValueError):
    """Profiles with different bins do not merge."""

    exit_status = REFUSED


@serializer(type_id=EDGES_ID)
def _write_edges(value: bytes) -> MetricComponentMessage:
    return MetricComponentMessage(serialized_bytes=value)


@deserializer(type_id=EDGES_ID)
def _read_edges(msg: MetricComponentMessage) -> bytes:
    return bytes(msg.serialized_bytes)


@aggregator(type_id=EDGES_ID)
def _same_edges(lhs: bytes, rhs: bytes) -> bytes:
    if lhs != rhs:
        raise BinsError("profiles with different bins do not merge")
    return lhs


@serializer(type_id=COUNTS_ID)
def _write_counts(value: bytes) -> MetricComponentMessage:
    return MetricComponentMessage(serialized_bytes=value)


@deserializer(type_id=COUNTS_ID)
def _read_counts(msg: MetricComponentMessage) -> bytes:
    return bytes(msg.serialized_bytes)


@aggregator(type_id=COUNTS_ID)
def _add_counts(lhs: bytes, rhs: bytes) -> bytes:
    return bytes((np.frombuffer(lhs, "<i8") + np.frombuffer(rhs, "<i8")).tobytes())


class EdgesComponent(MetricComponent[bytes]):
    """Edges as little-endian doubles; merging demands equality."""

    mtype = None
    type_id = EDGES_ID


class CountsComponent(MetricComponent[bytes]):
    """Counts as little-endian 64-bit integers; merging adds them."""

    mtype = None
    type_id = COUNTS_ID


@dataclass(frozen=True)
class BinsConfig(MetricConfig):
    """Where a column's bins lie."""

    edges: tuple[float, ...] = ()
    categorical: bool = False


@dataclass(frozen=True)
class BinsMetric(Metric):
    """Exact counts in fixed bins."""

    edges: EdgesComponent
    counts: CountsComponent
    categorical: bool = False

    @property
    def namespace(self) -> str:
        return "bins"

    @classmethod
    def zero(cls, config: MetricConfig | None = None) -> "BinsMetric":
        own = config if isinstance(config, BinsConfig) else BinsConfig(edges=(0.0,))
        counts = np.zeros(bin_count(own.edges), "<i8").tobytes()
        edges = np.asarray(own.edges, "<f8").tobytes()
        return cls(EdgesComponent(edges), CountsComponent(counts), own.categorical)

    def columnar_update(self, data: PreprocessedColumn) -> OperationResult:
        values = data.numpy.floats
        if values is None or not len(values):
            return OperationResult.ok(0)
        self.add(np.asarray(values, dtype=np.float64))
        return OperationResult.ok(len(values))

    def add(self, values: Floats) -> None:
        """Count values (no NaN)."""
        edges = tuple(np.frombuffer(self.edges.value, "<f8").tolist())
        more = tally(values, edges, self.categorical).astype("<i8")
        self.counts.set((np.frombuffer(self.counts.value, "<i8") + more).tobytes())

    def to_summary_dict(self, cfg: object = None) -> dict[str, Any]:  # noqa: ARG002 - whylogs' signature
        return {"rows": int(np.frombuffer(self.counts.value, "<i8").sum())}


register_metric(BinsMetric)
