"""Metrics: there at zero before the first request, counted exactly, and never a label that a client chose."""

import json
import shutil

import pytest
import yaml
from support.logged_inference import create
from support.packages import release_package, row_of
from support.products import POLICY
from support.service import Service
from support.settings import Settings

from beacon_core.domain.error_codes import STATUS_OF
from beacon_core.domain.policy import LARGE_RESIDUAL
from beacon_core.observability.metrics import STAGES
from beacon_core.web.middlewares import telemetry

PREDICT = "/v1/predict"


def grown(before, after):
    """Series that changed, and by how much."""
    return {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)}


def counts(metrics, name):
    return {key: value for key, value in metrics.items() if key.split("{")[0] == name}


def test_everything_is_there_at_zero(service, product):
    metrics = service.metrics()
    zeros = [
        "http_requests_total{endpoint=/v1/predict,method=POST,status=200}",
        "http_requests_total{endpoint=/v1/predict,method=POST,status=422}",
        "http_requests_total{endpoint=/v1/predict,method=POST,status=500}",
        "http_request_duration_seconds_count{endpoint=/v1/predict}",
        "http_request_duration_seconds_bucket{endpoint=/v1/predict,le=0.2}",
        *[f"api_errors_total{{endpoint=/v1/predict,error_type={code}}}" for code in STATUS_OF],
        *[f"model_imputations_total{{feature={name}}}" for name in product.feature_names],
        *[f"model_out_of_range_features_total{{feature={name}}}" for name in product.feature_names],
        *[f"beacon_stage_seconds_count{{stage={stage}}}" for stage in STAGES],
        *[f"model_extreme_predictions_total{{side={side}}}" for side in ("very_low", "very_high")],
        "model_predictions_total{model_version=1}",
        "model_client_predictions_total{client=anonymous}",
        "model_client_out_of_range_predictions_total{client=anonymous}",
        "model_out_of_range_predictions_total{model_version=1}",
        "model_inference_latency_seconds_count",
        "model_key_feature_out_of_range_total",
        "model_prediction_value_count",
        "beacon_prediction_log_dropped_total",
        "beacon_model_swaps_total{outcome=refused}",
    ]
    assert {name: metrics.get(name) for name in zeros} == dict.fromkeys(zeros, 0.0)
    assert metrics["beacon_build_info{revision=unknown,service=inference,version=0.1.0}"] == 1
    assert metrics["beacon_threshold{name=latency_slo_seconds}"] == product.policy.serving.latency_slo_seconds
    for volume in ("spool", "models"):
        assert metrics[f"beacon_volume_free_bytes{{volume={volume}}}"] > 0
        assert (
            metrics[f"beacon_volume_free_bytes{{volume={volume}}}"]
            <= metrics[f"beacon_volume_size_bytes{{volume={volume}}}"]
        )


def test_the_spool_tells_how_full_it_is(service, row):
    before = service.app.log_metrics()["beacon_prediction_log_spool_max_bytes"]
    assert before == Settings().spool_max_bytes
    service.post(PREDICT, {"features": row})
    assert service.app.log_metrics()["beacon_prediction_log_spool_bytes"] > 0, "the record is in the spool"


@pytest.mark.parametrize(("stated", "limit"), [(5, 5), (None, LARGE_RESIDUAL * 0.75)])
def test_a_residual_is_large_by_the_policy_or_by_the_models_error(tmp_path, product, stated, limit):
    shutil.copy(product.file, tmp_path)
    policy = yaml.safe_load(POLICY.read_text())
    policy["quality"]["large_residual"] = stated
    (tmp_path / POLICY.name).write_text(yaml.safe_dump(policy))
    release_package(tmp_path, product, expected_absolute_error=0.75)
    with Service(create(Settings(home=tmp_path, product=tmp_path / product.file.name))) as service:
        assert service.metrics()["beacon_threshold{name=large_residual}"] == limit


@pytest.mark.parametrize(("promised", "slow"), [(1e-9, 1), (1e9, None)])
def test_what_is_later_than_the_policy_promises_is_counted(tmp_path, product, row, promised, slow):
    """Whatever the promise is: no bucket of a histogram has to be at it."""
    shutil.copy(product.file, tmp_path)
    policy = yaml.safe_load(POLICY.read_text())
    policy["serving"]["latency_slo_seconds"] = promised
    (tmp_path / POLICY.name).write_text(yaml.safe_dump(policy))
    release_package(tmp_path, product)
    with Service(create(Settings(home=tmp_path, product=tmp_path / product.file.name))) as service:
        before = service.metrics()
        assert before["http_slow_requests_total{endpoint=/v1/predict}"] == 0
        assert service.post(PREDICT, {"features": row}).status == 200
        change = grown(before, service.metrics())
    assert change.get("http_slow_requests_total{endpoint=/v1/predict}") == slow


def test_a_prediction_is_counted(service, row):
    before = service.metrics()
    sent = {name: value for name, value in row.items() if name not in {"CRIM", "ZN"}} | {"TAX": 1}
    assert service.post(PREDICT, {"features": sent}).status == 200
    change = grown(before, service.metrics())
    assert counts(change, "http_requests_total") == {
        "http_requests_total{endpoint=/v1/predict,method=POST,status=200}": 1
    }
    assert change["model_predictions_total{model_version=1}"] == 1
    assert counts(change, "model_imputations_total") == {
        "model_imputations_total{feature=CRIM}": 1,
        "model_imputations_total{feature=ZN}": 1,
    }
    assert counts(change, "model_out_of_range_features_total") == {"model_out_of_range_features_total{feature=TAX}": 1}
    assert change["http_request_duration_seconds_count{endpoint=/v1/predict}"] == 1
    assert change["model_inference_latency_seconds_count"] == 1
    assert change["model_prediction_value_count"] == 1
    assert {name for name in change if name.startswith("beacon_stage_seconds_count")} == {
        f"beacon_stage_seconds_count{{stage={stage}}}" for stage in STAGES
    }
    assert "model_key_feature_out_of_range_total" not in change


def test_rows_are_counted_by_client_and_those_out_of_range_once(service, row):
    before = service.metrics()
    odd = row | {"TAX": 1, "DIS": 49}
    service.post("/v1/predict/batch", {"rows": [{"features": odd}, {"features": row}, {"features": odd}]})
    service.post(PREDICT, {"features": odd}, [("Beacon-Synthetic", "true")])
    change = grown(before, service.metrics())
    assert change["model_client_predictions_total{client=anonymous}"] == 3
    assert change["model_client_out_of_range_predictions_total{client=anonymous}"] == 2


def test_a_batch_counts_every_row(service, row):
    before = service.metrics()
    rows = [{"features": row | {"RM": None}}] * 3 + [{"features": row}]
    service.post("/v1/predict/batch", {"rows": rows})
    change = grown(before, service.metrics())
    assert change["model_predictions_total{model_version=1}"] == 4
    assert change["model_imputations_total{feature=RM}"] == 3
    assert change["model_inference_latency_seconds_count"] == 1


def test_the_key_features_range_is_watched(service, product, row):
    before = service.metrics()
    key = product.key_features[0]
    for value in (row[key], row[key] + 0.49, row[key] + 0.51, row[key] - 0.6):
        service.post(PREDICT, {"features": row | {key: value}})
    assert grown(before, service.metrics())["model_key_feature_out_of_range_total"] == 2


@pytest.mark.parametrize(
    ("bias", "side", "outside"), [(2.0, "very_low", 1), (44.0, "very_high", 0), (60.0, "very_high", 1)]
)
def test_extreme_predictions_are_counted(tmp_path, product, bias, side, outside):
    release_package(tmp_path, product, bias=bias, prediction_min=5.0, prediction_max=50.0)
    with Service(create(Settings(home=tmp_path))) as service:
        service.post(PREDICT, {"features": dict(zip(product.feature_names, row_of(product), strict=True))})
        metrics = service.metrics()
    assert counts(metrics, "model_extreme_predictions_total") == {
        f"model_extreme_predictions_total{{side={each}}}": float(each == side) for each in ("very_low", "very_high")
    }
    assert metrics["model_out_of_range_predictions_total{model_version=1}"] == outside


def test_an_error_is_counted_by_its_code(service, row):
    before = service.metrics()
    service.post(PREDICT, {"features": row | {"RM": 99}})
    service.post(PREDICT, b"{")
    service.get("/nowhere")
    change = grown(before, service.metrics())
    assert counts(change, "api_errors_total") == {
        "api_errors_total{endpoint=/v1/predict,error_type=out_of_valid_range}": 1,
        "api_errors_total{endpoint=/v1/predict,error_type=invalid_json}": 1,
        "api_errors_total{endpoint=unmatched,error_type=not_found}": 1,
    }
    assert change["http_requests_total{endpoint=/v1/predict,method=POST,status=422}"] == 1
    assert "model_predictions_total{model_version=1}" not in change


def test_a_client_cannot_make_series(service, row):
    def stir(salt):
        for number in range(20):
            name = f"{salt}{number}"
            for method in ("GET", "POST", "PUT", "BREW", name.upper()):
                service.run(service.ask(method, f"/{name}", b"{}"))
                service.run(service.ask(method, f"/v2/models/{name}/infer", b"{}"))
                service.run(service.ask(method, f"/v2/models/{name}/versions/{name}", b""))
            service.post(PREDICT, {"features": row | {name: 1}}, [("X-Request-Id", name)])
            service.get(f"/v1/predictions/{name}")

    stir("a")
    before = set(service.metrics())
    stir("b")
    assert set(service.metrics()) - before == set()


def test_the_metrics_port_has_metrics_and_nothing_else(service):
    ask = lambda method, path: service.run(service.ask(method, path, b"{}", port=9090))  # noqa: E731
    assert ask("GET", "/metrics").status == ask("HEAD", "/metrics").status == 200
    assert ask("HEAD", "/metrics").body == b""
    for method, path in (("POST", "/metrics"), ("POST", PREDICT), ("GET", "/v1/predictions/x"), ("GET", "/docs")):
        assert ask(method, path).error()[:2] == (404, "not_found")


def test_one_log_line_per_request_whatever_the_client_sends(service, row, capfd):
    service.post(PREDICT, {"features": row}, [("X-Request-Id", "r-1"), ("User-Agent", "x\x1b[31m")])
    service.post(PREDICT, {"features": row | {"a\r\nERROR b": 1}}, [("X-Request-Id", "evil\r\nline")])
    service.get("/no\r\n\x1b[31m/path")
    written = []
    service.until(lambda: written.append(capfd.readouterr().err) or "unmatched" in "".join(written), "the last line")
    lines = [json.loads(line) for line in "".join(written).splitlines() if '"beacon.access"' in line]
    assert [(line["endpoint"], line["status"], line["level"]) for line in lines] == [
        (PREDICT, 200, "INFO"),
        (PREDICT, 422, "WARNING"),
        ("unmatched", 404, "WARNING"),
    ]
    assert lines[0]["request_id"] == "r-1"
    assert lines[0]["model_version"] == "1"
    assert lines[1]["code"] == "unknown_feature"
    assert all(len(line["trace_id"]) == 32 for line in lines)


def logged(capfd):
    return capfd.readouterr().err.count('"beacon.access"')


def test_a_full_group_is_logged_at_once(service, row, capfd, monkeypatch):
    monkeypatch.setattr(telemetry, "GROUP_SECONDS", 3600)
    for _ in range(telemetry.GROUP_REQUESTS - 1):
        service.post(PREDICT, {"features": row})
    assert logged(capfd) == 0
    service.post(PREDICT, {"features": row})
    assert logged(capfd) == telemetry.GROUP_REQUESTS


def test_the_rest_of_a_group_is_logged_soon(service, row, capfd):
    assert telemetry.GROUP_SECONDS < 1
    service.post(PREDICT, {"features": row})
    assert logged(capfd) == 0
    service.until(lambda: logged(capfd) == 1, "the rest is logged")
