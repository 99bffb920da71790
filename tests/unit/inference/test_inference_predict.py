"""The answer to a prediction: value and interval, what was imputed, what was out of range, and where it came from."""

import pytest
from support.logged_inference import create
from support.packages import release_package, row_of
from support.service import Service
from support.settings import Settings


def predicted(product, values):
    """What the tiny model of tests/support/packages.py says: 20 and a thousandth of every value."""
    return pytest.approx(20 + sum(values.values()) / 1000, abs=1e-4)


def test_a_complete_row_is_answered_whole(service, product, row):
    answer = service.post("/v1/predict", {"features": row})
    body = answer.json()
    assert answer.status == 200
    assert set(body) == {
        *("prediction", "unit", "interval", "prediction_id"),
        *("model", "imputed", "out_of_range", "sources"),
    }
    assert body["prediction"] == predicted(product, row)
    assert body["unit"] == product.target.unit
    low, high = body["prediction"] - 3, body["prediction"] + 4
    assert body["interval"] == {"low": pytest.approx(low), "high": pytest.approx(high), "coverage": 0.9}
    assert (body["model"]["name"], body["model"]["version"]) == (product.name, "1")
    assert len(body["model"]["sha256"]) == 64
    assert body["imputed"] == body["out_of_range"] == []
    assert body["sources"] == dict.fromkeys(product.feature_names, "request")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["beacon-model-version"] == "1"
    assert answer.headers["beacon-logged"] == "true"
    stages = [part.split(";")[0] for part in answer.headers["server-timing"].split(", ")]
    assert stages == ["validate", "lookup", "impute", "predict", "respond", "log"]


@pytest.mark.parametrize("how", ["null", "absent"])
def test_a_missing_value_is_imputed_and_named(service, product, row, how):
    given = {name: value for name, value in row.items() if name not in {"RM", "LSTAT"}}
    sent = given | ({"RM": None, "LSTAT": None} if how == "null" else {})
    body = service.post("/v1/predict", {"features": sent}).json()
    assert body["imputed"] == ["RM", "LSTAT"]
    assert body["sources"] == dict.fromkeys(given, "request")
    # The package's fill values are those of the row itself.
    assert body["prediction"] == predicted(product, row)


def test_a_value_outside_the_training_range_is_answered_and_named(service, product, row):
    sent = row | {"RM": row["RM"] + 1.5, "TAX": 0}
    body = service.post("/v1/predict", {"features": sent}).json()
    assert body["out_of_range"] == ["RM", "TAX"]
    assert body["prediction"] == predicted(product, sent)


def test_the_ends_of_a_range_are_inside(service, row):
    body = service.post("/v1/predict", {"features": row | {"RM": row["RM"] + 1, "TAX": row["TAX"] - 1}}).json()
    assert body["out_of_range"] == []
    for value in (1, 20):
        assert service.post("/v1/predict", {"features": row | {"RM": value}}).status == 200


def test_whole_numbers_and_decimals_are_the_same_value(service, row):
    whole = service.post("/v1/predict", {"features": row | {"RAD": 4}}).json()
    decimal = service.post("/v1/predict", {"features": row | {"RAD": 4.0}}).json()
    assert whole["prediction"] == decimal["prediction"]


def test_the_last_of_two_keys_counts_in_the_answer_and_in_the_log(service, product, row):
    rest = ",".join(f'"{name}":{value}' for name, value in row.items() if name != "RM")
    answer = service.post("/v1/predict", f'{{"features":{{"RM":2,{rest},"RM":7}}}}'.encode())
    assert answer.json()["prediction"] == predicted(product, row | {"RM": 7})
    assert service.get(f"/v1/predictions/{answer.json()['prediction_id']}").json()["features"]["RM"] == 7


def test_a_batch_is_answered_in_order(service, product, row):
    rows = [row | {"RM": value} for value in (5, 6, 7)] + [dict.fromkeys(row) | {n: row[n] for n in list(row)[:6]}]
    predictions = service.post("/v1/predict/batch", {"rows": [{"features": each} for each in rows]}).json()[
        "predictions"
    ]
    assert [each["prediction"] for each in predictions[:3]] == [predicted(product, each) for each in rows[:3]]
    assert predictions[3]["imputed"] == list(row)[6:]
    assert len({each["prediction_id"] for each in predictions}) == 4


def test_a_batch_answers_what_single_requests_answer(service, row):
    rows = [row | {"LSTAT": value, "RM": None} for value in range(40)]
    batch = service.post("/v1/predict/batch", {"rows": [{"features": each} for each in rows]}).json()["predictions"]
    for each, one in zip(rows, batch, strict=True):
        alone = service.post("/v1/predict", {"features": each}).json()
        for key in ("prediction", "interval", "imputed", "out_of_range", "sources"):
            assert one[key] == alone[key]


def test_the_largest_batch_is_taken(service, row):
    answer = service.post("/v1/predict/batch", {"rows": [{"features": row}] * 1000})
    assert len(answer.json()["predictions"]) == 1000


@pytest.mark.parametrize("value", [-10.0, 0.5, 99.0, 250.0])
def test_an_interval_always_holds_its_prediction(tmp_path, product, value):
    release_package(tmp_path, product, bias=value)
    with Service(create(Settings(home=tmp_path))) as service:
        body = service.post("/v1/predict", {"features": dict(zip(product.feature_names, row_of(product), strict=True))})
        interval = body.json()["interval"]
        assert interval["low"] <= body.json()["prediction"] <= interval["high"]


def test_a_prediction_can_be_read_back_from_the_moment_it_was_answered(service, product, row):
    sent = {name: value for name, value in row.items() if name != "RM"}
    answer = service.post("/v1/predict", {"features": sent}, [("X-Request-Id", "my-request")])
    body = answer.json()
    found = service.get(f"/v1/predictions/{body['prediction_id']}").json()
    assert {key: found[key] for key in body} == body
    assert found["features"] == sent | {"RM": None}
    assert found["request_id"] == "my-request" == answer.headers["x-request-id"]
    assert found["actual"] is None
    assert found["entity"] is None
    assert 0 < found["latency_seconds"] < 5


@pytest.mark.parametrize("name", ["nope", "a" * 65, "a b", "a\x00b", "..", "%00", "ä"])
def test_a_prediction_that_is_not_there_is_404(service, name):
    answer = service.get(f"/v1/predictions/{name}")
    assert answer.error()[:2] == (404, "unknown_prediction")


def test_the_clients_ids_are_used_where_they_are_plain_words(service, row):
    sent = service.post("/v1/predict", {"features": row, "prediction_id": "order-1"}, [("x-request-id", "r.1")])
    assert sent.json()["prediction_id"] == "order-1"
    assert sent.headers["x-request-id"] == "r.1"
    odd = service.post("/v1/predict", {"features": row}, [("x-request-id", "a b\x1b[31m")])
    assert len(odd.headers["x-request-id"]) == 32


def test_the_trace_of_the_caller_is_continued(service, row):
    trace = "0af7651916cd43dd8448eb211c80319c"
    answer = service.post("/v1/predict", {"features": row}, [("traceparent", f"00-{trace}-b7ad6b7169203331-01")])
    assert service.get(f"/v1/predictions/{answer.json()['prediction_id']}").json()["trace_id"] == trace
    assert answer.headers["x-request-id"] == trace


@pytest.mark.parametrize(("content", "why"), [(None, "No such file"), (b"", "no model is released yet")])
def test_no_model_is_503_and_not_ready_but_alive(tmp_path, content, why):
    """A pod to which no model was given yet has an empty file."""
    if content is not None:
        (tmp_path / "release.json").write_bytes(content)
    with Service(create(Settings(home=tmp_path))) as service:
        assert service.get("/livez").status == 200
        assert service.get("/readyz").error()[:2] == (503, "model_not_ready")
        assert f"release.json: {why}" in service.get("/readyz").json()["error"]
        for path in ("/v2/health/ready", "/ping"):
            assert service.get(path).status in {503, 404}
        answer = service.post("/v1/predict", {"features": {}})
        assert answer.error()[:2] == (503, "model_not_ready")
        assert answer.headers["retry-after"] == "1"
