"""What an instance counted: its /metrics before and after, and the difference as one side of a phase."""

import http.client
import math
import urllib.request
from collections.abc import Sequence
from itertools import pairwise

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from beacon_core.domain.pins import Pin
from beacon_core.observability import metrics
from beacon_promotion.analysis.measurements import Side
from beacon_promotion.targets.base.target import Instance

SECONDS = 5.0
PREDICT = ("/v1/predict", "/v2/models/", "/v1/models/", "/invocations")
LEAST_WINDOW = 20
"""Requests per window at least for a p99: of fewer it is the slowest one, which may be the machine's fault."""
MODEL_ERRORS = frozenset({"internal", "model_not_ready"})
"""Errors that a model can cause; an outage of the feature store is none."""

FIELDS = {
    metrics.HTTP_REQUESTS.name: "requests",
    metrics.API_ERRORS.name: "failures",
    metrics.PREDICTIONS.name: "predictions",
    metrics.OUT_OF_RANGE_PREDICTIONS.name: "out_of_range",
    f"{metrics.PREDICTION_VALUE.name}_sum": "value_sum",
    f"{metrics.HTTP_DURATION.name}_bucket": "latency",
    f"{metrics.PREDICTION_VALUE.name}_bucket": "values",
    metrics.PEAK_MEMORY.name: "memory",
}


class ScrapedCounts(msgspec.Struct, frozen=True):
    """Sums since the instance started. `latency` and `values` are cumulative buckets by upper bound."""

    requests: float = 0.0
    failures: float = 0.0
    predictions: float = 0.0
    out_of_range: float = 0.0
    value_sum: float = 0.0
    latency: dict[float, float] = {}
    values: dict[float, float] = {}
    memory: float | None = None


def read(instance: Instance) -> ScrapedCounts | None:
    """The counts of an instance now; None where it does not answer."""
    try:
        with urllib.request.urlopen(instance.metrics_url, timeout=SECONDS) as answer:  # noqa: S310 - the target's address
            return parse(answer.read().decode())
    except (OSError, http.client.HTTPException, ValueError):
        return None


def parse(text: str) -> ScrapedCounts:
    """The exposition's text as counts."""
    sums: dict[str, float] = {}
    buckets: dict[str, dict[float, float]] = {"latency": {}, "values": {}}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            field = FIELDS.get(sample.name)
            if field is None or not _is_counted(sample.labels):
                continue
            if field in buckets:
                bound = float(sample.labels["le"])
                buckets[field][bound] = buckets[field].get(bound, 0.0) + sample.value
            else:
                sums[field] = sums.get(field, 0.0) + sample.value
    return ScrapedCounts(**sums, **buckets)  # type: ignore[arg-type]


def _is_counted(labels: dict[str, str]) -> bool:
    """Whether a sample is about predictions and, if about an error, about one that a model can cause."""
    of_model = labels.get("error_type", "internal") in MODEL_ERRORS
    return of_model and labels.get("endpoint", PREDICT[0]).startswith(PREDICT)


def since(now: ScrapedCounts, before: ScrapedCounts | None) -> ScrapedCounts:
    """What was counted in between; an instance that restarted counts from its start."""
    if before is None or now.requests < before.requests:
        return now
    return ScrapedCounts(
        requests=now.requests - before.requests,
        failures=now.failures - before.failures,
        predictions=now.predictions - before.predictions,
        out_of_range=now.out_of_range - before.out_of_range,
        value_sum=now.value_sum - before.value_sum,
        latency={bound: count - before.latency.get(bound, 0.0) for bound, count in now.latency.items()},
        values={bound: count - before.values.get(bound, 0.0) for bound, count in now.values.items()},
        memory=now.memory,
    )


def together(parts: Sequence[ScrapedCounts]) -> ScrapedCounts:
    """The sum over instances; buckets of answers only where all instances have the same ones."""
    same = len({tuple(part.values) for part in parts}) == 1
    return ScrapedCounts(
        requests=sum(part.requests for part in parts),
        failures=sum(part.failures for part in parts),
        predictions=sum(part.predictions for part in parts),
        out_of_range=sum(part.out_of_range for part in parts),
        value_sum=sum(part.value_sum for part in parts),
        latency=_added([part.latency for part in parts]),
        values=_added([part.values for part in parts]) if same else {},
        memory=max((part.memory for part in parts if part.memory is not None), default=None),
    )


def side(pin: Pin, windows: Sequence[ScrapedCounts]) -> Side:
    """One model's figures out of the windows of a phase, in order."""
    whole = together(windows)
    busy = [window for window in windows if window.requests >= LEAST_WINDOW]
    known = whole.predictions > 0
    return Side(
        pin=pin,
        requests=round(whole.requests),
        failures=round(whole.failures),
        p99=tuple(quantile(window.latency, 0.99) for window in busy),
        mean=whole.value_sum / whole.predictions if known else None,
        spread=_spread(whole.values) if known and whole.values else None,
        out_of_range=whole.out_of_range / whole.predictions if known else None,
        memory=whole.memory,
    )


def quantile(buckets: dict[float, float], level: float) -> float:
    """A quantile from cumulative buckets, interpolated within one; at most the last finite bound."""
    bounds = sorted(buckets)
    wanted = level * buckets[bounds[-1]]
    low, below = 0.0, 0.0
    for bound in bounds:
        if buckets[bound] >= wanted and buckets[bound] > below:
            share = (wanted - below) / (buckets[bound] - below)
            return low if math.isinf(bound) else min(bound, low + (bound - low) * share)
        if not math.isinf(bound):
            low = bound
        below = buckets[bound]
    return low


def _spread(buckets: dict[float, float]) -> float:
    """The least standard deviation that fits the counts: each answer lies as near to the others as its bucket allows.

    So equal answers show no spread wherever they lie, even at the edge of two wide buckets.
    """
    bounds = [-math.inf, *sorted(buckets)]
    counts = [0.0, *(buckets[bound] for bound in bounds[1:])]
    parts = [
        (low, high, count - below)
        for (low, high), (below, count) in zip(pairwise(bounds), pairwise(counts), strict=True)
        if count > below
    ]
    middles = [bound for bound in bounds if math.isfinite(bound)]
    least = min(
        sum(count * (min(max(low, middle), high) - middle) ** 2 for low, high, count in parts) for middle in middles
    )
    return math.sqrt(least / counts[-1])


def _added(parts: Sequence[dict[float, float]]) -> dict[float, float]:
    added: dict[float, float] = {}
    for part in parts:
        for bound, count in part.items():
            added[bound] = added.get(bound, 0.0) + count
    return added
