"""OpenTelemetry end to end: an OTLP receiver gets the request's span and its stages; off means not even imported."""

import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from support.features import fill, free_port, serve_features
from support.inference import PYTHON, Inference

from beacon_core.metrics import STAGES
from beacon_core.product import Product
from beacon_core.settings import ROOT, Settings

TRACE_ID, PARENT_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Received(NamedTuple):
    """A span as it came over the wire, and the service that sent it."""

    service: str
    span: Any


class Receiver(ThreadingHTTPServer):
    """An OTLP/HTTP receiver that keeps what it is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Taker)
        self.spans: list[Received] = []
        self.paths: set[str] = set()


class Taker(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["Content-Type"] == "application/x-protobuf"
        self.server.paths.add(self.path)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            names = {item.key: item.value.string_value for item in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.server.spans += [Received(names["service.name"], span) for span in scope.spans]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_collector_gets_a_span_for_the_request_and_a_child_for_each_stage(
    receiver: Receiver, home: Path, tmp_path: Path, row: dict[str, float]
) -> None:
    endpoint = f"http://127.0.0.1:{receiver.server_port}"
    with Inference(home, tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint) as server:
        caller = f"00-{TRACE_ID}-{PARENT_ID}-01"
        assert server.post("/v1/predict", {"features": row}, traceparent=caller).status == 200
        assert server.post("/v1/predict", {"features": {"RM": "six"}}).status == 422
    # The server has ended, and with that sent what it had.
    assert receiver.paths == {"/v1/traces"}
    ours = [each for each in receiver.spans if each.span.trace_id.hex() == TRACE_ID]
    assert {each.service for each in ours} == {"beacon-inference"}
    (request,) = [each.span for each in ours if each.span.name == "POST /v1/predict"]
    assert request.parent_span_id.hex() == PARENT_ID
    attributes = {item.key: item.value for item in request.attributes}
    assert attributes["http.response.status_code"].int_value == 200
    assert attributes["beacon.model_version"].string_value == "1"
    stages = sorted(
        (each.span for each in ours if each.span is not request), key=lambda span: span.start_time_unix_nano
    )
    assert [span.name for span in stages] == list(STAGES)
    assert all(span.parent_span_id == request.span_id for span in stages)
    assert request.start_time_unix_nano <= stages[0].start_time_unix_nano
    assert stages[-1].end_time_unix_nano <= request.end_time_unix_nano
    refused = [
        each.span for each in receiver.spans if each.span.name == "POST /v1/predict" and each.span is not request
    ]
    assert [item.value.int_value for item in refused[0].attributes if item.key == "http.response.status_code"] == [422]
    assert refused[0].trace_id.hex() != TRACE_ID


def test_the_look_up_is_part_of_the_same_trace(
    receiver: Receiver, home: Path, tmp_path: Path, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{receiver.server_port}")
    ports = {"features_port": free_port(), "features_metrics_port": free_port()}
    settings = Settings(home=tmp_path, **ports)
    fill(settings, product)
    features = {
        "BEACON_FEATURES_URL": f"http://127.0.0.1:{settings.features_port}",
        "BEACON_FEATURES_TIMEOUT_SECONDS": "20",
    }
    with serve_features(settings, tmp_path), Inference(home, tmp_path, **features) as server:
        answer = server.post("/v1/predict", {"entity": {"tract_id": 17}}, traceparent=f"00-{TRACE_ID}-{PARENT_ID}-01")
        assert answer.status == 200, answer.body
    ours = {each.span.name: each for each in receiver.spans if each.span.trace_id.hex() == TRACE_ID}
    asked, served = ours["POST /v1/predict"], ours["POST /get-online-features"]
    assert (asked.service, served.service) == ("beacon-inference", "beacon-feature-serving")
    assert served.span.parent_span_id == asked.span.span_id
    stages = {each.span.name for each in receiver.spans if each.span.parent_span_id == served.span.span_id}
    assert stages == {"validate", "lookup"}


def test_a_collector_that_is_down_costs_no_prediction(home: Path, tmp_path: Path, row: dict[str, float]) -> None:
    with Inference(
        home, tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", OTEL_BSP_SCHEDULE_DELAY="50"
    ) as server:
        assert [server.post("/v1/predict", {"features": row}).status for _ in range(20)] == [200] * 20


@pytest.mark.parametrize(("endpoint", "imported"), [("", "False"), ("http://127.0.0.1:9", "True")])
def test_the_sdk_is_imported_only_where_an_endpoint_is_set(tmp_path: Path, endpoint: str, imported: str) -> None:
    code = """
import sys
from beacon_core.settings import load_settings
from beacon_inference.app import create
create(load_settings())
print(any(name.startswith("opentelemetry.") for name in sys.modules))
"""
    environment = {
        "BEACON_HOME": str(tmp_path),
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "PYTHONPATH": f"{ROOT / 'services' / 'core'}:{ROOT / 'services' / 'inference'}",
    }
    run = subprocess.run([str(PYTHON), "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == imported
