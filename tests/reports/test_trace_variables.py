"""OpenTelemetry's variables hold as docs/reference/traces.md says; an unsupported one is one line, and nothing ends."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.inference import Inference
from support.otlp import Receiver, receiving

from beacon_core.observability.trace_settings import read_trace_settings
from beacon_core.web.http import Request
from beacon_core.web.middlewares.spans import open_spans

TRACE_ID, PARENT_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE_ID}-{PARENT_ID}-01"
SECRET = "s3cr3t-of-the-collector"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


@pytest.fixture
def sent(receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    """Answer requests of a service that has these variables besides the endpoint; the lines of its log."""

    def _sent(parents=("",), **variables: str) -> list[str]:
        for name, value in {ENDPOINT: receiver.url, **variables}.items():
            monkeypatch.setenv(name, value)
        spans = open_spans("inference", "1.2")
        for parent in parents if spans is not None else ():
            headers = [(b"traceparent", parent.encode())] if parent else []
            request = Request({"method": "POST", "headers": headers})
            request.timings = [("predict", 0.001)]
            spans.end(spans.begin(request), request, 200)
        if spans is not None:
            spans.close()
        return [record.getMessage() for record in caplog.records]

    return _sent


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({}, "beacon-inference"),
        ({"OTEL_SERVICE_NAME": "prices"}, "prices"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=homes"}, "homes"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=homes", "OTEL_SERVICE_NAME": "prices"}, "prices"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=a%2Cb%20c,team=x"}, "a,b c"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "team=x", "OTEL_SERVICE_NAME": ""}, "beacon-inference"),
        ({"OTEL_SERVICE_NAME": " "}, "beacon-inference"),
    ],
    ids=str,
)
def test_the_operator_names_the_service(sent, receiver: Receiver, variables: dict[str, str], name: str) -> None:
    assert sent(**variables) == []
    assert {each.service for each in receiver.spans} == {name}
    assert {each.resource["service.version"] for each in receiver.spans} == {"1.2"}
    assert all(each.resource.get("team", "x") == "x" for each in receiver.spans)


def test_resource_attributes_are_sent_and_win_over_ours(sent, receiver: Receiver) -> None:
    sent(OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=stage,service.version=9,service.namespace=shop")
    about = receiver.spans[0].resource
    assert about["deployment.environment.name"] == "stage"
    assert (about["service.version"], about["service.namespace"]) == ("9", "shop")


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_TRACES_EXPORTER": " NONE "},
        {"OTEL_SDK_DISABLED": "true"},
        {"OTEL_SDK_DISABLED": "TRUE", "OTEL_TRACES_EXPORTER": "otlp"},
        {ENDPOINT: ""},
        {"OTEL_TRACES_SAMPLER": "always_off"},
        {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"},
    ],
    ids=str,
)
def test_nothing_is_sent_where_traces_are_switched_off(sent, receiver: Receiver, variables: dict[str, str]) -> None:
    assert sent(**variables) == []
    assert receiver.spans == []


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_TRACES_EXPORTER": "otlp"},
        {"OTEL_TRACES_EXPORTER": ""},
        {"OTEL_SDK_DISABLED": "false", "OTEL_TRACES_SAMPLER": "", "OTEL_EXPORTER_OTLP_TIMEOUT": ""},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_TIMEOUT": "2.5"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"},
        {"OTEL_TRACES_SAMPLER": "Always_On"},
        {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "1"},
        {"OTEL_PROPAGATORS": "tracecontext"},
    ],
    ids=str,
)
def test_what_is_supported_is_taken_without_a_word(sent, receiver: Receiver, variables: dict[str, str]) -> None:
    assert sent(**variables) == []
    assert [each.name for each in receiver.spans] == ["predict", "POST unmatched"]
    assert receiver.paths == {"/v1/traces"}


@pytest.mark.parametrize(
    ("variables", "told", "spans"),
    [
        ({"OTEL_TRACES_EXPORTER": "jaeger"}, ["OTEL_TRACES_EXPORTER: 'jaeger'"], 0),
        ({"OTEL_TRACES_EXPORTER": "otlp,zipkin"}, ["OTEL_TRACES_EXPORTER: 'zipkin'"], 2),
        ({"OTEL_TRACES_EXPORTER": "none,otlp"}, ["OTEL_TRACES_EXPORTER: 'none'"], 0),
        ({"OTEL_SDK_DISABLED": "yes"}, ["OTEL_SDK_DISABLED: 'yes'"], 2),
        ({"OTEL_PROPAGATORS": "tracecontext,baggage"}, ["OTEL_PROPAGATORS: 'baggage'"], 2),
        ({"OTEL_PROPAGATORS": "b3multi, jaeger"}, ["OTEL_PROPAGATORS: 'b3multi', 'jaeger'"], 2),
        ({"OTEL_TRACES_SAMPLER": "jaeger_remote"}, ["OTEL_TRACES_SAMPLER: 'jaeger_remote'"], 2),
        *(
            (
                {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": ratio},
                [f"OTEL_TRACES_SAMPLER_ARG: {ratio!r}"],
                2,
            )
            for ratio in ("a tenth", "10", "-0.1", "nan", "10%")
        ),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, ["OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc'"], 0),
        ({"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"}, ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'http/json'"], 0),
        *(
            ({"OTEL_EXPORTER_OTLP_TIMEOUT": text}, [f"OTEL_EXPORTER_OTLP_TIMEOUT: {text!r}"], 2)
            for text in ("10s", "10000", "0", "-1", "inf")
        ),
        *(
            ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": text}, ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "], 0)
            for text in ("collector:4318", "ftp://collector", "http://", " http://127.0.0.1:9", "http://127.0.0.1:9\n")
        ),
        ({"OTEL_EXPORTER_OTLP_CERTIFICATE": "/nowhere/ca.pem"}, ["OTEL_EXPORTER_OTLP_CERTIFICATE: "], 0),
        *(
            ({"OTEL_EXPORTER_OTLP_HEADERS": f"a=b,{header}"}, ["OTEL_EXPORTER_OTLP_HEADERS: number 2 "], 0)
            for header in (SECRET, f"authorization=Bearer {SECRET}\n", f"authorization={SECRET}%0D%0A", f"x y={SECRET}")
        ),
        ({"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "many"}, ["no traces are sent: "], 0),
    ],
    ids=str,
)
def test_what_is_not_supported_is_one_line_and_nothing_ends(
    sent, receiver: Receiver, variables: dict[str, str], told: list[str], spans: int
) -> None:
    lines = sent(**variables)
    assert len(lines) == len(told), lines
    for line, beginning in zip(lines, told, strict=True):
        assert line.startswith(beginning)
        assert "\n" not in line
        assert SECRET not in line
    assert len(receiver.spans) == spans


def test_headers_reach_the_collector_decoded(sent, receiver: Receiver) -> None:
    header = f"authorization=Bearer%20{SECRET}, x-team = homes"
    assert sent(OTEL_EXPORTER_OTLP_HEADERS=header) == []
    assert receiver.headers[0]["authorization"] == f"Bearer {SECRET}"
    assert receiver.headers[0]["x-team"] == "homes"


def test_the_traces_own_endpoint_is_taken_as_it_is(sent, receiver: Receiver) -> None:
    own = f"{receiver.url}/here?token={SECRET}"
    assert sent(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=own) == []
    assert receiver.paths == {f"/here?token={SECRET}"}
    assert receiver.spans


def test_a_share_of_the_traces_is_kept_and_the_callers_decision_with_it(sent, receiver: Receiver) -> None:
    beginnings = [""] * 200
    sent(beginnings, OTEL_TRACES_SAMPLER="parentbased_traceidratio", OTEL_TRACES_SAMPLER_ARG="0.5")
    kept = {each.span.trace_id for each in receiver.spans}
    assert 50 < len(kept) < 150
    receiver.spans.clear()
    sent((PARENT, f"{PARENT[:-1]}0"), OTEL_TRACES_SAMPLER="parentbased_always_off")
    assert {each.span.trace_id.hex() for each in receiver.spans} == {TRACE_ID}


@pytest.mark.parametrize(
    ("propagators", "continued"),
    [("", True), ("tracecontext", True), ("baggage,TraceContext", True), ("none", False), ("b3", False)],
)
def test_a_callers_trace_is_continued_by_the_propagators_alone(
    sent, receiver: Receiver, propagators: str, continued: bool
) -> None:
    sent((PARENT,), OTEL_PROPAGATORS=propagators)
    (request,) = [each for each in receiver.spans if each.kind == "SERVER"]
    assert (request.span.trace_id.hex() == TRACE_ID) is continued
    assert (request.span.parent_span_id.hex() == PARENT_ID) is continued


def test_the_collector_of_this_machine_is_the_one_that_is_not_named() -> None:
    """OpenTelemetry's default is to send; Beacon's is not to, until the exporter is named."""
    assert read_trace_settings({}).exporters == ()
    assert read_trace_settings({"OTEL_TRACES_EXPORTER": "otlp"}).exporters == ("otlp",)


def test_a_server_takes_them_and_serves_whatever_they_say(
    receiver: Receiver, home: Path, tmp_path: Path, row: dict[str, float]
) -> None:
    wrong = {"OTEL_TRACES_EXPORTER": "otlp,console,prometheus", "OTEL_PROPAGATORS": "none", ENDPOINT: receiver.url}
    with Inference(home, tmp_path, OTEL_SERVICE_NAME="prices", **wrong) as server:
        answer = server.post("/v1/predict", {"features": row}, traceparent=PARENT)
        assert answer.status == 200
    assert {each.service for each in receiver.spans} == {"prices"}
    assert receiver.of_trace(TRACE_ID) == [], "a caller's trace is its own matter here"
    lines = [json.loads(line) for line in (tmp_path / "python.log").read_text().splitlines()]
    assert any(line.get("name") == "POST /v1/predict" for line in lines), "the console shows the span"
    told = [line["message"] for line in lines if line.get("logger") == "beacon.traces"]
    assert told == ["OTEL_TRACES_EXPORTER: 'prometheus' is not supported and gets no traces; use otlp, console or none"]


JOB = """
import sys
from beacon_core.platform.job import run_job, trace_environment
from beacon_core.observability.tracing import span
def main():
    with span("work", {}):
        print(trace_environment())
    return 0
sys.exit(run_job("own", main))
"""


def test_a_job_takes_them_too(receiver: Receiver, tmp_path: Path) -> None:
    def run(**variables: str) -> tuple[str, str]:
        environment = {"BEACON_HOME": str(tmp_path), **variables}
        done = subprocess.run(
            [sys.executable, "-c", JOB], env=environment, capture_output=True, text=True, check=True, timeout=120
        )
        return done.stdout, done.stderr

    given = {ENDPOINT: receiver.url, "TRACEPARENT": PARENT, "OTEL_SERVICE_NAME": "nightly"}
    out, _ = run(**given, OTEL_TRACES_EXPORTER="otlp,console")
    assert {(each.service, each.name) for each in receiver.of_trace(TRACE_ID)} == {
        ("nightly", "own"),
        ("nightly", "work"),
    }
    assert out.startswith("{'TRACEPARENT': '00-" + TRACE_ID), "spans are not in a job's answer"
    receiver.spans.clear()
    out, err = run(**given, OTEL_TRACES_EXPORTER="zipkin", OTEL_PROPAGATORS="none")
    assert receiver.spans == []
    assert out == "{}\n"
    assert "OTEL_TRACES_EXPORTER: 'zipkin' is not supported" in err
