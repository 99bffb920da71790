"""beacon-client against real servers, for a product of numbers and one with a feature of each type."""

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from contract.client.conftest import Running
from support.waiting import until

from beacon_client import Beacon, ServiceError, ServiceUnreachableError, plots

pytestmark = [pytest.mark.xdist_group("client"), pytest.mark.slow]


@pytest.fixture
def beacon(running: Running) -> Iterator[Beacon]:
    with Beacon(running.inference, console=running.console) as client:
        yield client


@pytest.fixture
def table(running: Running) -> pd.DataFrame:
    """Rows that the product takes, with gaps, and an index of their own."""
    example = {feature.name: feature.example for feature in running.product.features}
    found = pd.DataFrame([example] * 25, index=[f"row {number}" for number in range(25)])
    gap = next(name for name, feature in zip(example, running.product.features, strict=True) if feature.nullable)
    found.loc[found.index[::3], gap] = None
    return found


def test_a_frame_is_answered_in_batches_and_keeps_its_index(beacon: Beacon, table: pd.DataFrame) -> None:
    whole, parts = beacon.predict(table), beacon.predict(table, batch=4)
    assert list(parts.index) == list(table.index)
    assert list(whole["prediction"]) == list(parts["prediction"])
    assert parts["prediction_id"].is_unique
    assert list(parts["imputed"].map(bool)) == [number % 3 == 0 for number in range(25)]
    assert (parts["low"] <= parts["prediction"]).all()
    assert list(beacon.predict(pa.Table.from_pandas(table, preserve_index=False))["prediction"]) == list(
        whole["prediction"]
    )


def test_features_are_those_of_the_product(beacon: Beacon, running: Running) -> None:
    assert beacon.features() == list(running.product.feature_names)


def test_an_error_has_the_servers_text_and_the_place(beacon: Beacon, table: pd.DataFrame) -> None:
    rows = [*table.head(5).to_dict("records"), {"no such feature": 1}]
    with pytest.raises(ServiceError, match=r"no such feature.*unknown_feature, status 422, request ") as raised:
        beacon.predict(rows, batch=4)
    assert raised.value.field == "rows[1].features.no such feature"
    assert raised.value.__notes__ == ["its rows are counted from row 4 of the data"]


def test_explanations_add_up(beacon: Beacon, table: pd.DataFrame) -> None:
    why = beacon.explain(table.head(18))
    assert list(why.index) == list(table.index[:18])
    assert set(beacon.features()) <= set(why.columns)
    sums = why.drop(columns="prediction").sum(axis=1)
    assert (sums - why["prediction"]).abs().max() <= 0.01 * why["prediction"].abs().max()


def test_the_log_has_what_was_predicted_with_its_actuals(beacon: Beacon, table: pd.DataFrame) -> None:
    predicted = beacon.predict(table)
    actuals = pd.DataFrame({"prediction_id": predicted["prediction_id"], "value": predicted["prediction"]})
    assert beacon.send_actuals(actuals.head(10)) == 10

    def shipped() -> Any:
        log = beacon.predictions(since=datetime.now(UTC) - timedelta(minutes=30))
        ours = log.filter(pa.compute.is_in(log["id"], pa.array(predicted["prediction_id"])))
        return ours if ours.num_rows == 25 and ours["actual"].null_count == 15 else None

    ours = until(shipped, "the log has it").to_pandas().set_index("id").loc[predicted["prediction_id"]]
    assert list(ours["prediction"]) == list(predicted["prediction"])
    assert list(ours["actual"].head(10)) == list(predicted["prediction"].head(10))
    assert str(ours["time"].dtype) == "datetime64[us, UTC]"


def test_a_month_of_the_log_is_read_page_by_page(beacon: Beacon, running: Running) -> None:
    since, end = datetime.now(UTC) - timedelta(days=40), datetime.now(UTC) - timedelta(hours=2)
    log = beacon.predictions(since=since, until=end)
    assert 1400 < log.num_rows <= 1500
    assert log["id"].to_pandas().is_unique
    assert log["time"].to_pandas().is_monotonic_increasing
    assert {f"features.{name}" for name in running.product.feature_names} <= set(log.column_names)
    assert log["actual"].null_count < log.num_rows
    assert beacon.predictions(since=since, until=end, most=1200).num_rows == 1200


def test_drift_comes_as_frames_and_pictures(beacon: Beacon, running: Running) -> None:
    runs = beacon.drift_runs(most=5)
    assert len(runs) == 5
    report = beacon.drift()
    assert report.period == runs["period"][0]
    assert set(running.product.key_features) & set(report.results[report.results["confirmed"]]["feature"])
    assert set(report.figures["metric"]) >= {"mae"}
    assert beacon.drift(report.period) == report
    bars = plots.drift_scores(report, window="7d")
    assert len(bars.patches) > 0
    log = beacon.predictions(since=datetime.now(UTC) - timedelta(days=40))
    assert len(plots.against_actuals(log).collections) == 1
    assert len(plots.error_over_time(log).lines[0].get_xdata()) >= 3


def test_a_run_that_is_not_there_and_a_console_that_was_not_named(beacon: Beacon, running: Running) -> None:
    with pytest.raises(ServiceError, match="There is no drift run 1999"):
        beacon.drift("1999")
    with Beacon(running.inference) as alone, pytest.raises(ValueError, match="need the console's address"):
        alone.drift()


def test_what_does_not_answer_or_is_not_beacon_is_said() -> None:
    with (
        Beacon("http://127.0.0.1:1") as beacon,
        pytest.raises(ServiceUnreachableError, match=r"127\.0\.0\.1:1 does not answer"),
    ):
        beacon.features()


def test_a_busy_server_is_tried_again_after_the_seconds_that_it_says() -> None:
    """No server of ours is busy at will: this one says so twice, in the words of ours."""
    asked: list[float] = []

    class Busy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(time.monotonic())
            busy = len(asked) < 3
            document = {"components": {"schemas": {"Features": {"properties": {"size": {}}}}}}
            body = {"error": "too many requests wait", "code": "overloaded", "field": None, "request_id": "r"}
            content = json.dumps(body if busy else document).encode()
            self.send_response(503 if busy else 200)
            self.send_header("Retry-After", "1")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base class's name
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Busy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        with Beacon(address, retries=1) as beacon, pytest.raises(ServiceError, match="too many requests wait"):
            beacon.features()
        assert len(asked) == 2
        with Beacon(address, retries=1) as beacon:
            assert beacon.features() == ["size"]
        server.shutdown()
    assert asked[1] - asked[0] >= 1
