"""What a running product shows of itself: every panel has data, every line one shape, every job its trace."""

import json
import re
import time
from collections.abc import Iterator

import pytest
from support.dashboards import asked, documents, faults, shown
from support.products import SPEC
from support.prometheus import Prometheus
from support.waiting import until

from beacon_core.observability.metrics import HTTP_DURATION
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT
from beacon_retraining.pipeline.stages import STAGES
from tests.system.observe.whole import JOBS, Whole, product_whole
from tools.dashboards.panels import ANNOTATIONS
from tools.dashboards.queries import scoped
from tools.dashboards.serving import TOPIC_ROW

SHAPE = {"level", "time", "service", "version", "logger", "message", "request_id", "trace_id", "prediction_id"}
STAGES_OF = {
    "retrain": ["run"],
    "materialize": ["materialize"],
    "drift": ["profile", "compare"],
    "skew": ["replay"],
    "migrate": [],
    "fetch-model": [],
    "golden": [],
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Whole, Prometheus]]:
    product = load_product(SPEC)
    with product_whole(tmp_path_factory.mktemp("whole"), product) as both:
        yield both


@pytest.fixture(scope="module")
def whole(running: tuple[Whole, Prometheus]) -> Whole:
    return running[0]


@pytest.fixture(scope="module")
def prometheus(running: tuple[Whole, Prometheus]) -> Prometheus:
    return running[1]


def test_every_panel_has_data_and_names_its_series(whole: Whole, prometheus: Prometheus) -> None:
    """While the product is asked; Prometheus needs some seconds of that, and a busy machine more of them.

    The topic's row is held by test-kafka, whose consumer runs.
    """
    queries = [query for board in documents().values() for query in shown(board) if query.row != TOPIC_ROW]
    wrong = ["nothing was looked at"]
    for _ in range(10):
        whole.live()
        time.sleep(3)
        wrong = faults(prometheus, queries)
        if not wrong:
            break
    assert not wrong, "\n".join(wrong)


def test_annotations_are_queries(prometheus: Prometheus) -> None:
    exprs = [asked(scoped(expr)) for _, _, expr, _ in ANNOTATIONS]
    for expr in exprs:
        prometheus.query(expr)
    assert prometheus.query(f"count_over_time(({exprs[0]})[30m:1s])"), "the model came into service"


def test_exemplars_lead_to_traces(whole: Whole, prometheus: Prometheus) -> None:
    for endpoint in ("/v1/predict", "/get-online-features"):
        series = f'{HTTP_DURATION.name}_bucket{{endpoint="{endpoint}"}}'
        # Spans are sent some seconds after they have ended.
        until(
            lambda series=series: (
                {each.span.trace_id.hex() for each in whole.receiver.spans} & prometheus.exemplars(series)
            ),
            f"an exemplar of {endpoint} leads to a trace",
        )


def test_every_line_of_every_process_has_one_shape(whole: Whole) -> None:
    lines = whole.lines()
    assert {*JOBS, "beacon_inference", "beacon_feature_serving", "beacon_console"} <= lines.keys()
    for process, written in lines.items():
        if process in {"prometheus", "log"}:
            continue
        assert written or process == "prober", process
        for line in written:
            assert line.startswith("{"), f"{process}: {line}"
            record = json.loads(line)
            assert record.keys() >= SHAPE, f"{process}: {line}"
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", record["time"]), line
            assert record["level"] in {"INFO", "WARNING", "ERROR"}, line


def test_a_prediction_is_found_in_the_logs_by_its_id_and_its_trace_in_both_services(whole: Whole) -> None:
    lines = [json.loads(line) for line in whole.lines()["beacon_inference"] if '"beacon.access"' in line]
    answered = [line for line in lines if line["endpoint"] == "/v1/predict" and line["prediction_id"]]
    looked_up = next(line for line in answered if line.get("looked_up"))
    served = [json.loads(line) for line in whole.lines()["beacon_feature_serving"] if looked_up["trace_id"] in line]
    assert [line["endpoint"] for line in served] == ["/get-online-features"]


@pytest.mark.parametrize("job", list(JOBS))
def test_every_job_is_a_trace_with_its_stages(whole: Whole, job: str) -> None:
    told = [json.loads(line) for line in whole.lines()[job]]
    (trace_id,) = {line["trace_id"] for line in told}
    root, *_ = whole.receiver.of_trace(trace_id)
    assert (root.service, root.name, root.failed) == (f"beacon-{job}", job, False)
    assert not root.span.parent_span_id
    stages = whole.receiver.below(root)
    assert [each.name for each in stages] == STAGES_OF[job]
    if job == "retrain":
        assert [each.name for each in whole.receiver.below(stages[0])] == list(STAGES)
        assert all(each.attributes["beacon.job"] == "retrain" for each in stages)


def test_the_documented_queries_ask_for_fields_that_lines_have(whole: Whole) -> None:
    lines = [line for written in whole.lines().values() for line in written if line.startswith("{")]
    known = {field for line in lines for field in json.loads(line)}
    text = (ROOT / "docs" / "reference" / "logs.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in text.splitlines() if line[:3] == "| `")))
    queries = "\n".join(line for line in text.splitlines() if line.startswith("    "))
    places = r"(?:\| json \||,) (\w+) ?[=><!]|WHERE (\w+)|AND (\w+)|unwrap (\w+)|BY (\w+)|by \((\w+)"
    asked_for = set(re.findall(places, queries))
    named = {name for names in asked_for for name in names if name}
    assert len(named) > 10
    # Told only where something went wrong, which this product did not.
    wrong_only = {"error", "degraded", "replayed", "dropped", "exc_info"}
    assert named <= listed | wrong_only
    assert listed - wrong_only - known == set()
