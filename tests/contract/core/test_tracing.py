"""OpenTelemetry end to end: an OTLP receiver gets a request's way, from caller to store; off means not there."""

import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from support.features import fill, serve_features
from support.inference import PYTHON, Inference
from support.otlp import Receiver, receiving
from support.ports import free_port
from support.products import SPEC
from support.settings import Settings

from beacon_core.domain.product import Product
from beacon_core.observability.metrics import HTTP_DURATION, STAGES

pytestmark = pytest.mark.slow

TRACE_ID, PARENT_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
QUIET_ID = PARENT_ID * 2
SAMPLED, UNSAMPLED = f"00-{TRACE_ID}-{PARENT_ID}-01", f"00-{QUIET_ID}-{PARENT_ID}-00"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


def scrape(port: int, accept: str) -> str:
    question = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(question, timeout=30) as answer:
        return str(answer.read().decode())


def exemplars(port: int) -> set[str]:
    """The traces that the buckets of /v1/predict point to."""
    families = {family.name: family for family in text_string_to_metric_families(scrape(port, OPENMETRICS))}
    samples = [each for each in families[HTTP_DURATION.name].samples if each.labels["endpoint"] == "/v1/predict"]
    return {each.exemplar.labels["trace_id"] for each in samples if each.exemplar}


def test_the_collector_gets_a_span_for_the_request_and_a_child_for_each_stage(
    receiver: Receiver, home: Path, tmp_path: Path, row: dict[str, float]
) -> None:
    with Inference(home, tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url) as server:
        answer = server.post("/v1/predict", {"features": row}, traceparent=SAMPLED)
        assert answer.status == 200
        assert server.ask("GET", f"/v1/predictions/{answer.json()['prediction_id']}").status == 200
        refused = server.post("/v1/predict", {"features": {"RM": "six"}})
        assert refused.status == 422
    # The server has ended, and with that sent what it had.
    assert receiver.paths == {"/v1/traces"}
    request, *stages = receiver.of_trace(TRACE_ID)
    assert (request.service, request.name, request.kind) == ("beacon-inference", "POST /v1/predict", "SERVER")
    assert request.span.parent_span_id.hex() == PARENT_ID
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["http.route"] == "/v1/predict"
    assert request.attributes["beacon.model_version"] == "1"
    assert request.attributes["beacon.prediction_id"] == answer.json()["prediction_id"]
    assert [each.name for each in stages] == list(STAGES)
    assert {each.kind for each in stages} == {"INTERNAL"}, "nobody was asked for features"
    assert receiver.below(request) == stages
    assert request.span.start_time_unix_nano <= stages[0].span.start_time_unix_nano
    assert stages[-1].span.end_time_unix_nano <= request.span.end_time_unix_nano
    # A trace that begins here has its beginning in the collector, under the id that the client was told.
    (alone,) = receiver.of_trace(refused.headers["x-request-id"])
    assert not alone.span.parent_span_id
    assert alone.attributes["http.response.status_code"] == 422
    assert "GET /v1/predictions/<prediction_id>" in {each.name for each in receiver.spans}


def test_the_buckets_of_the_latency_point_to_traces(
    receiver: Receiver, home: Path, tmp_path: Path, row: dict[str, float]
) -> None:
    with Inference(home, tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url) as server:
        assert server.post("/v1/predict", {"features": row}, traceparent=UNSAMPLED).status == 200
        assert exemplars(server.metrics_port) == set()
        assert server.post("/v1/predict", {"features": row}, traceparent=SAMPLED).status == 200
        assert exemplars(server.metrics_port) == {TRACE_ID}
        assert "trace_id" not in scrape(server.metrics_port, "text/plain")
    assert {each.span.trace_id.hex() for each in receiver.spans if each.name == "POST /v1/predict"} == {TRACE_ID}


def test_the_sampler_is_the_operators(receiver: Receiver, home: Path, tmp_path: Path, row: dict[str, float]) -> None:
    sampler = {"OTEL_TRACES_SAMPLER": "parentbased_always_off"}
    with Inference(home, tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, **sampler) as server:
        assert server.post("/v1/predict", {"features": row}).status == 200
        assert exemplars(server.metrics_port) == set()
        assert server.post("/v1/predict", {"features": row}, traceparent=SAMPLED).status == 200
    assert {each.span.trace_id.hex() for each in receiver.spans} == {TRACE_ID}


def test_a_trace_goes_from_the_caller_over_inference_and_feature_serving_to_the_store(
    receiver: Receiver, home: Path, tmp_path: Path, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    ports = {"features_port": free_port(), "features_metrics_port": free_port()}
    settings = Settings(home=tmp_path, **ports)
    fill(settings, product)
    features = {
        "BEACON_FEATURES_URL": f"http://127.0.0.1:{settings.features_port}",
        "BEACON_FEATURES_TIMEOUT_SECONDS": "20",
    }
    with serve_features(settings, tmp_path), Inference(home, tmp_path, **features) as server:
        for caller in (SAMPLED, UNSAMPLED):
            answer = server.post("/v1/predict", {"entity": {"tract_id": 17}}, traceparent=caller)
            assert answer.status == 200, answer.body
    way = [receiver.of_trace(TRACE_ID)[0]]
    assert way[0].span.parent_span_id.hex() == PARENT_ID
    for name in ("lookup", "POST /get-online-features", "lookup"):
        (child,) = [each for each in receiver.below(way[-1]) if each.name == name]
        # It begins within its parent; a server's span may end after its caller has the answer.
        parent = way[-1].span
        assert parent.start_time_unix_nano <= child.span.start_time_unix_nano <= parent.end_time_unix_nano
        way.append(child)
    services = ["beacon-inference", "beacon-inference", "beacon-feature-serving", "beacon-feature-serving"]
    assert [each.service for each in way] == services
    assert [each.kind for each in way] == ["SERVER", "CLIENT", "SERVER", "CLIENT"]
    assert way[1].attributes["peer.service"] == services[2]
    assert way[3].attributes["db.system.name"] == "sqlite"
    assert receiver.of_trace(QUIET_ID) == [], "what the caller does not sample is sampled nowhere"


def test_a_collector_that_is_down_costs_no_prediction(home: Path, tmp_path: Path, row: dict[str, float]) -> None:
    with Inference(
        home,
        tmp_path,
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9",
        OTEL_BSP_SCHEDULE_DELAY="50",
        OTEL_EXPORTER_OTLP_TIMEOUT="1",  # what a server that ends gives its last spans
    ) as server:
        taken = []
        for _ in range(20):
            began = time.monotonic()
            assert server.post("/v1/predict", {"features": row}).status == 200
            taken.append(time.monotonic() - began)
        assert sorted(taken)[10] < 1  # an export that waits for a collector takes seconds


@pytest.mark.parametrize(("endpoint", "imported"), [("", "False"), ("http://127.0.0.1:9", "True")])
def test_the_sdk_is_imported_only_where_an_endpoint_is_set(tmp_path: Path, endpoint: str, imported: str) -> None:
    code = """
import sys
from beacon_core.platform.settings import load_settings
from beacon_inference.app import create
create(load_settings())
print(any(name.startswith("opentelemetry.") for name in sys.modules))
"""
    environment = {
        "BEACON_HOME": str(tmp_path),
        "BEACON_PRODUCT": str(SPEC),
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
    }
    run = subprocess.run([str(PYTHON), "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == imported
