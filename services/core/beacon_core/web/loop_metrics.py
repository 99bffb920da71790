"""Counters and histograms for the event loop's thread: a fifth of the library's cost, the same exposition.

prometheus_client locks and walks the buckets at every step, which at ten steps per request is a third of a prediction.
Here one thread writes, so that a list item is enough; the registry and the text format stay the library's.
"""

import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

from beacon_core.observability.metrics import Metric


class CounterSeries:
    """One counter series."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1.0) -> None:
        """Count."""
        self.value += amount


class HistogramSeries:
    """One histogram series; `bounds` are inclusive upper bounds, ascending, the infinite one left out."""

    __slots__ = ("_bounds", "_exemplars", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self._exemplars: dict[int, Exemplar] = {}

    def observe(self, value: float) -> None:
        """Count a value into its bucket."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def observe_all(self, values: Sequence[float]) -> None:
        """Count each value into its bucket."""
        if len(values) < len(self._bounds):
            for value in values:
                self.observe(value)
            return
        ordered = sorted(values)
        before = 0
        for place, bound in enumerate(self._bounds):  # a walk over the buckets, not over the values
            below = bisect_right(ordered, bound, before)
            self.counts[place] += below - before
            before = below
        self.counts[-1] += len(ordered) - before
        self.total += sum(ordered)

    def add_exemplar(self, value: float, trace_id: str) -> None:
        """Name the trace of a value that was observed; the newest of each bucket is shown (in OpenMetrics only)."""
        self._exemplars[bisect_left(self._bounds, value)] = Exemplar({"trace_id": trace_id}, value, time.time())

    def cumulative(self) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
        """Upper bound, count and, where there is one, exemplar of each bucket, as the exposition has them."""
        buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
        running = 0
        for place, bound in enumerate((*map(floatToGoString, self._bounds), "+Inf")):
            running += self.counts[place]
            exemplar = self._exemplars.get(place)
            buckets.append((bound, float(running)) if exemplar is None else (bound, float(running), exemplar))
        return buckets


class LoopCounter(Collector):
    """A counter metric and its series."""

    def __init__(self, metric: Metric, registry: CollectorRegistry) -> None:
        self._metric = metric
        self._series: dict[tuple[str, ...], CounterSeries] = {} if metric.labels else {(): CounterSeries()}
        registry.register(self)

    def labels(self, *values: object) -> CounterSeries:
        """Return the series of these label values, made at zero when it is new."""
        series = self._series.get(values)  # type: ignore[arg-type]
        if series is None:
            series = self._series.setdefault(tuple(map(str, values)), CounterSeries())
        return series

    def collect(self) -> Iterable[Family]:
        family = CounterMetricFamily(self._metric.name, self._metric.help, labels=self._metric.labels)
        for labels, count in list(self._series.items()):
            family.add_metric(labels, count.value)
        yield family

    def describe(self) -> Iterator[Family]:
        yield CounterMetricFamily(self._metric.name, self._metric.help, labels=self._metric.labels)


class LoopHistogram(Collector):
    """A histogram metric and its series."""

    def __init__(self, metric: Metric, registry: CollectorRegistry, bounds: tuple[float, ...] = ()) -> None:
        self._metric = metric
        self._bounds = bounds or metric.buckets
        self._series: dict[tuple[str, ...], HistogramSeries] = {}
        if not metric.labels:
            self._series[()] = HistogramSeries(self._bounds)
        registry.register(self)

    def labels(self, *values: object) -> HistogramSeries:
        """Return the series of these label values, made empty when it is new."""
        series = self._series.get(values)  # type: ignore[arg-type]
        if series is None:
            series = self._series.setdefault(tuple(map(str, values)), HistogramSeries(self._bounds))
        return series

    def collect(self) -> Iterable[Family]:
        family = HistogramMetricFamily(self._metric.name, self._metric.help, labels=self._metric.labels)
        for labels, distribution in list(self._series.items()):
            family.add_metric(labels, distribution.cumulative(), distribution.total)
        yield family

    def describe(self) -> Iterator[Family]:
        yield HistogramMetricFamily(self._metric.name, self._metric.help, labels=self._metric.labels)
