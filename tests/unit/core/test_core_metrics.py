"""The metrics table, and the quick counters that must not differ from prometheus_client's own."""

import random
import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from beacon_core.observability import metrics
from beacon_core.observability.metrics import Metric
from beacon_core.platform.settings import ROOT
from beacon_core.web.loop_metrics import LoopCounter, LoopHistogram

BRIEF = {
    "http_requests_total": ("endpoint", "method", "status"),
    "http_request_duration_seconds": ("endpoint",),
    "api_errors_total": ("endpoint", "error_type"),
    "model_inference_latency_seconds": (),
    "model_predictions_total": ("model_version",),
    "model_imputations_total": ("feature",),
}


def test_names_are_unique_and_well_formed():
    names = [metric.name for metric in metrics.ALL]
    assert len(names) == len(set(names)) > 20
    for metric in metrics.ALL:
        assert re.fullmatch(r"[a-z][a-z0-9_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert metric.help.endswith(".")


def test_the_brief_names_are_there_with_their_labels():
    table = {metric.name: metric.labels for metric in metrics.ALL}
    assert {name: table.get(name) for name in BRIEF} == BRIEF
    assert {0.05, 0.1, 0.2, 0.25} <= set(metrics.HTTP_DURATION.buckets)


@pytest.mark.parametrize("metric", [metric for metric in metrics.ALL if metric.buckets], ids=lambda metric: metric.name)
def test_buckets_ascend(metric):
    assert list(metric.buckets) == sorted(set(metric.buckets))


def test_every_metric_is_used_by_a_service():
    sources = [path for path in (ROOT / "services").rglob("*.py") if path != Path(metrics.__file__)]
    used = set(re.findall(r"metrics\.([A-Z_]+)", "\n".join(path.read_text(encoding="utf-8") for path in sources)))
    named = {name for name, value in vars(metrics).items() if isinstance(value, Metric)}
    assert named - used == set()


def test_a_metric_cannot_be_made_as_another_kind():
    with pytest.raises(TypeError, match="is a counter"):
        metrics.gauge(metrics.IMPUTATIONS, CollectorRegistry())


def exposition(registry):
    """What is scraped, without prometheus_client's creation times."""
    lines = generate_latest(registry).decode().splitlines()
    return sorted(line for line in lines if "_created" not in line)


@pytest.mark.parametrize("labels", [(), ("endpoint", "status")])
def test_counters_expose_what_the_library_would(labels):
    metric = Metric("steps_total", "counter", 'Help with "quotes" and \\.', labels)
    values = [(), ()] if not labels else [("/a", "200"), ('/"b"\n\\', 404)]
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    quick, library = LoopCounter(metric, ours), metrics.counter(metric, theirs)
    for step in (1, 0.5, 3, 1e9):
        for value in values:
            quick.labels(*value).inc(step)
            (library.labels(*value) if labels else library).inc(step)
    assert exposition(ours) == exposition(theirs)


BOUNDS = [metrics.LATENCY_BUCKETS, metrics.STAGE_BUCKETS, metrics.AGE_BUCKETS, (10.0, 15.5, 35.0)]


@pytest.mark.parametrize("bounds", BOUNDS, ids=["latency", "stage", "age", "value"])
@pytest.mark.parametrize("labels", [(), ("stage",)])
def test_histograms_expose_what_the_library_would(bounds, labels):
    metric = Metric("seconds", "histogram", "Help.", labels, bounds)
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    quick, library = LoopHistogram(metric, ours), metrics.histogram(metric, theirs)
    mine = quick.labels("x") if labels else quick.labels()
    other = library.labels("x") if labels else library
    chance = random.Random(7)
    edges = [*bounds, 0.0, bounds[0] / 2, bounds[-1] * 2]
    for value in edges + [chance.lognormvariate(0, 3) for _ in range(500)]:
        mine.observe(value)
        other.observe(value)
    assert exposition(ours) == exposition(theirs)


def test_series_exist_at_zero_before_the_first_step():
    registry = CollectorRegistry()
    LoopCounter(Metric("a_total", "counter", "A."), registry)
    LoopHistogram(Metric("b_seconds", "histogram", "B.", (), (1.0,)), registry)
    LoopCounter(Metric("c_total", "counter", "C.", ("x",)), registry).labels("one")
    text = generate_latest(registry).decode()
    for line in ("a_total 0.0", 'b_seconds_bucket{le="1.0"} 0.0', "b_seconds_count 0.0", 'c_total{x="one"} 0.0'):
        assert line in text


def test_two_metrics_of_one_name_are_refused():
    registry = CollectorRegistry()
    LoopCounter(Metric("a_total", "counter", "A."), registry)
    with pytest.raises(ValueError, match="Duplicated"):
        LoopCounter(Metric("a_total", "counter", "A."), registry)


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 1000])
def test_many_values_at_once_are_counted_as_one_by_one(count):
    values = [random.Random(count + at).choice([-1.0, 1.0, 1.5, 2.0, 2.5, 7.0]) for at in range(count)]
    registries = [CollectorRegistry(), CollectorRegistry()]
    together, each = (
        LoopHistogram(metrics.PREDICTION_VALUE, registry, (0.0, 1.0, 2.0, 3.0)).labels() for registry in registries
    )
    together.observe_all(values)
    for value in values:
        each.observe(value)
    assert exposition(registries[0]) == exposition(registries[1])
