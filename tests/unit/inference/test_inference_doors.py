"""Every type of value, through every door: one table of values, and each protocol."""

import msgspec
import pytest
from support.doors import DOORS, predictions, send
from support.logged_inference import create
from support.packages import build_package, release_package, row_of
from support.products import MIXED, SPEC, write_spec
from support.service import Service
from support.settings import Settings

from beacon_core.model_package.release import Release, write_release
from beacon_core.platform.product_file import load_product
from beacon_inference.prediction.feature_client import FeatureClient

FIGURES = {"mixed": {"bias": 250_000.0, "weight": 0.5}}
# Of the product of all types: what a client sends, and what the prediction log says.
VALUES = [
    ("grade", " top ", "top"),
    ("colour", "teal", "teal"),
    ("colour", None, None),
    ("supplier", "S99", "S99"),
    ("supplier", "Zu\u0308rich, AG", "Z\u00fcrich, AG"),
    ("insured", False, False),
    ("insured", 1, True),
    ("pieces", 17.0, 17.0),
    ("warranty", None, None),
    ("made_on", "2024-02-29", "2024-02-29"),
    ("gross weight", 0.1, 0.1),
]
BAD = [
    ("grade", "best", "unknown_category"),
    ("pieces", 2.5, "invalid_type"),
    ("insured", 2, "invalid_type"),
    ("made_on", "1999-12-31", "out_of_valid_range"),
    ("made_on", "17.5.2023", "invalid_type"),
    ("area", -1, "out_of_valid_range"),
    ("supplier", "x" * 300, "invalid_type"),
]
WRONG_TYPES = [
    ("grade", 1, "must be text or null, not a number"),
    ("area", "7", "must be a number"),
    ("pieces", True, "must be a number"),
]


def serving(home, product, **settings):
    if not (home / "release.json").exists():
        release_package(home, product, **FIGURES.get(product.name, {}))
    return Service(create(Settings(home=home, product=product.file, **settings)))


@pytest.fixture(scope="module", params=[SPEC, MIXED], ids=["boston", "mixed"])
def either(request, tmp_path_factory):
    product = load_product(request.param)
    with serving(tmp_path_factory.mktemp("either"), product) as service:
        yield service, product


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    product = load_product(MIXED)
    with serving(tmp_path_factory.mktemp("mixed"), product) as service:
        yield service, product


def complete(product, **changes):
    return dict(zip(product.feature_names, row_of(product), strict=True)) | changes


def one(service, features, **more):
    return service.post("/v1/predict", {"features": features, **more})


@pytest.mark.parametrize("door", DOORS)
def test_each_door_gives_the_same_prediction(either, door):
    service, product = either
    last = product.feature_names[-2]
    rows = [complete(product), complete(product, **{last: None})]
    wanted = [one(service, row).json()["prediction"] for row in rows]
    answer = send(service, DOORS[door](product, rows))
    assert answer.status == 200, answer.body
    assert predictions(answer) == wanted
    assert answer.headers["beacon-imputed"] == last


@pytest.mark.parametrize("door", DOORS)
def test_each_door_takes_each_type(mixed, door):
    service, product = mixed
    rows = [complete(product, **{name: value}) for name, value, _ in VALUES]
    wanted = [one(service, row).json()["prediction"] for row in rows]
    answer = send(service, DOORS[door](product, rows))
    assert answer.status == 200, answer.body
    assert predictions(answer) == wanted
    assert len(set(wanted)) > 5, "the values make a difference"


@pytest.mark.parametrize(("name", "value", "kept"), VALUES)
def test_the_log_has_the_values(mixed, name, value, kept):
    service, product = mixed
    answer = one(service, complete(product, **{name: value})).json()
    found = service.get(f"/v1/predictions/{answer['prediction_id']}").json()
    assert found["features"] == complete(product) | {name: kept}
    assert type(found["features"][name]) is type(kept)
    assert found["imputed"] == ([name] if kept is None else [])


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(("name", "value", "code"), BAD)
def test_each_door_names_the_value_that_breaks_a_rule(mixed, door, name, value, code):
    service, product = mixed
    rows = [complete(product), complete(product, **{name: value})]
    if "Open Inference" in door and isinstance(value, float | int):  # an INT64 tensor cannot hold 2.5
        return
    status, found, field = send(service, DOORS[door](product, rows)).error()
    assert (status, found) == (422, code)
    assert field.endswith(f"[1].features.{name}" if door == "native batch" else f"[1].{name}"), field


@pytest.mark.parametrize("door", [door for door in DOORS if door != "CSV" and "Open" not in door])
@pytest.mark.parametrize(("name", "value", "rule"), WRONG_TYPES)
def test_a_value_of_another_type_is_refused(mixed, door, name, value, rule):
    service, product = mixed
    answer = send(service, DOORS[door](product, [complete(product, **{name: value})]))
    assert answer.error()[:2] == (422, "invalid_type")
    assert rule in answer.json()["error"]


TENSORS = [
    ("insured", "FP32", [1.0], 200),
    ("insured", "BOOL", [True], 200),
    ("insured", "FP64", [0.5], 422),
    ("pieces", "FP64", [2.5], 422),
    ("pieces", "UINT8", [3], 200),
    ("pieces", "BOOL", [True], 422),
    ("grade", "BYTES", ["low"], 200),
    ("grade", "BYTES", ["bG93"], 200),
    ("grade", "INT64", [1], 422),
    ("area", "BYTES", ["7"], 422),
    ("area", "STRING", [7], 422),
]


@pytest.mark.parametrize(("name", "datatype", "data", "status"), TENSORS)
def test_the_datatype_of_a_tensor_must_suit_its_feature(mixed, name, datatype, data, status):
    service, product = mixed
    row = complete(product)
    del row[name]
    path, body, _ = DOORS["Open Inference"](product, [row])
    content = msgspec.json.decode(body)
    parameters = {"content_type": "base64"} if data == ["bG93"] else {"content_type": "str"}
    content["inputs"].append(
        {"name": name, "datatype": datatype, "shape": [1, 1], "data": data, "parameters": parameters}
    )
    answer = service.post(path, content)
    assert answer.status == status, answer.body
    if status != 200:
        assert answer.json()["code"] == "invalid_type"


def test_one_tensor_needs_features_that_are_numbers(mixed):
    service, product = mixed
    tensor = {"name": "x", "shape": [1, 9], "datatype": "FP64", "data": [1.0] * 9}
    assert service.post("/v2/models/mixed/infer", {"inputs": [tensor]}).error()[:2] == (422, "invalid_type")
    described = service.get("/v2/models/mixed").json()["inputs"]
    assert [(tensor["name"], tensor["datatype"]) for tensor in described][3:5] == [
        ("insured", "BOOL"),
        ("grade", "BYTES"),
    ]
    assert product.feature_names == tuple(tensor["name"] for tensor in described)


@pytest.mark.parametrize("content", [b"\x03\x00\x00\x00lo", b"\x03\x00", b"\x01\x00\x00\x00\xff"])
def test_a_damaged_text_tensor_is_refused(mixed, content):
    service, _ = mixed
    head = msgspec.json.encode(
        {
            "inputs": [
                {"name": "grade", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(content)}}
            ]
        }
    )
    headers = [("content-type", "application/octet-stream"), ("inference-header-content-length", str(len(head)))]
    assert service.post("/v2/models/mixed/infer", head + content, headers).status == 422


def test_a_retry_gets_the_first_answer_and_another_text_is_a_conflict(mixed):
    service, product = mixed
    row = complete(product, supplier="S01", colour="teal")
    first = one(service, row, prediction_id="retry-1")
    assert one(service, row, prediction_id="retry-1").json() == first.json()
    for change in ({"supplier": "S02"}, {"colour": "violet"}, {"grade": "low"}):
        assert one(service, row | change, prediction_id="retry-1").error()[1] == "idempotency_conflict"


ODD = {
    "unit price": {"type": "float", "example": 1.5},
    "a.b": {"type": "int"},
    "a-b": {"type": "bool"},
    "2nd": {"type": "float"},
    "gr\u00f6\u00dfe": {"type": "category", "levels": ["L", "XL"]},
    "class": {"type": "float"},
    "f0": {"type": "timestamp"},
    "features": {"type": "float"},
}


def test_any_name_goes_through_every_door(tmp_path):
    product = write_spec(tmp_path, ODD)
    row = complete(product)
    with serving(tmp_path / "home", product) as service:
        wanted = one(service, row).json()
        assert wanted["sources"] == dict.fromkeys(ODD, "request")
        for door, make in DOORS.items():
            answer = send(service, make(product, [row]))
            assert answer.status == 200, (door, answer.body)
            assert predictions(answer) == [wanted["prediction"]], door
        few = one(service, {name: row[name] for name in list(ODD)[:4]})
        assert few.headers["beacon-imputed"] == "gr%C3%B6%C3%9Fe, class, f0, features"
        found = service.get(f"/v1/predictions/{few.json()['prediction_id']}").json()
        assert found["features"]["unit price"] == 1.5
        misspelt = one(service, row | {"UNIT PRIZE": 1}).json()["error"]
        assert misspelt == "unknown feature UNIT PRIZE; did you mean unit price?"


def test_a_product_without_an_entity_refuses_one(tmp_path):
    product = write_spec(tmp_path, ODD)
    with serving(tmp_path / "home", product) as service:
        answer = one(service, complete(product), entity={"id": 1})
        assert answer.error() == (422, "invalid_entity", "entity")
        assert answer.json()["error"] == "the product has no entity"
        assert one(service, complete(product), entity=None).status == 200
        actual = {"entity": {"id": 1}, "observed_at": "2026-01-31T12:00:00Z", "value": 1}
        assert service.post("/v1/actuals", actual).error() == (422, "invalid_entity", "entity")


BOTH = {"name": "stock", "key": ["shop", "sku"], "type": {"sku": "text"}}


def test_a_key_of_several_columns_is_read_by_every_protocol_and_logged(tmp_path, monkeypatch):
    async def hang(*_):
        raise TimeoutError

    monkeypatch.setattr(FeatureClient, "_request", hang)
    product = write_spec(tmp_path, ODD, entity=BOTH)
    row, key = complete(product), {"shop": 7.0, "sku": " A-1 "}
    with serving(tmp_path / "home", product) as service:
        answer = one(service, row, entity=key)  # feature serving is down, and the request has all features
        found = service.get(f"/v1/predictions/{answer.json()['prediction_id']}").json()
        assert found["entity"] == {"shop": 7, "sku": "A-1"}
        for door in ("V1 objects", "V1 columns", "MLflow split", "MLflow records", "CSV"):
            assert send(service, DOORS[door](product, [row | key])).status == 200, door
            error = send(service, DOORS[door](product, [row | {"shop": 7}])).error()
            assert error[:2] == (422, "invalid_entity"), door
            error = send(service, DOORS[door](product, [row | key | {"shop": 1.5}])).error()
            assert error[1] == "invalid_entity", door
            assert error[2].endswith("[0].shop"), door
        actual = {"entity": key, "observed_at": found["time"], "value": 1}
        assert service.post("/v1/actuals", actual).json()["outcomes"] == ["accepted"]
        service.until(lambda: service.app.log_metrics()["beacon_prediction_log_spool_records"] == 0, "it is shipped")
        later = service.get(f"/v1/predictions/{answer.json()['prediction_id']}").json()
        assert later["actual"]["value"] == 1
        assert later["entity"] == {"shop": 7, "sku": "A-1"}


def test_a_wide_batch_is_served(tmp_path):
    product = write_spec(tmp_path, {f"f{number}": {"type": "float"} for number in range(200)})
    rows = [[0.5] * 200] * 1000
    with serving(tmp_path / "home", product) as service:
        answer = service.post("/v1/models/spec:predict", {"instances": rows})
        assert answer.status == 200, answer.body[:200]
        assert len(answer.json()["predictions"]) == 1000
        native = service.post("/v1/predict/batch", {"rows": [{"features": complete(product)}] * 1000})
        assert native.status == 200, native.body[:200]


# What a changed product.yaml does while the old model answers.
OLD = {"size": {"type": "float", "valid": [0, 10]}, "kind": {"type": "category", "levels": ["a", "b"]}, "gone": {}}


def changed(tmp_path, features, **changes):
    old = write_spec(tmp_path / "old", OLD, min_features=1)
    release_package(tmp_path / "home", old)
    return write_spec(tmp_path / "new", features, min_features=1, **changes)


def test_a_change_that_the_next_model_follows_holds_at_once(tmp_path):
    levels = {"type": "category", "levels": ["c", "b", "a"]}
    product = changed(
        tmp_path, {"fresh": {"type": "bool"}, "kind": levels, "size": {"type": "float", "valid": [0, 20]}}
    )
    with serving(tmp_path / "home", product) as service:
        answer = one(service, {"size": 15, "kind": "a", "fresh": True}).json()
        assert answer["prediction"] == pytest.approx(20 + 0.001 * (15 + 0 + 0), abs=1e-4)
        assert one(service, {"size": 15, "kind": "b"}).json()["prediction"] > answer["prediction"]
        assert service.get(f"/v1/predictions/{answer['prediction_id']}").json()["features"]["fresh"] is True
        assert answer["out_of_range"] == ["size"]
        assert one(service, {"size": 15, "gone": 1}).error()[1] == "unknown_feature"


def test_after_a_breaking_change_requests_follow_the_model_in_service(tmp_path, caplog):
    product = changed(
        tmp_path, {"size": {"type": "int", "valid": [0, 10]}, "extra": {"type": "bool"}}, schema_version=2
    )
    with serving(tmp_path / "home", product) as service:
        assert service.get("/readyz").status == 200
        assert one(service, {"size": 2.5, "kind": "a"}).status == 200
        assert one(service, {"size": 2, "extra": True}).error()[1] == "unknown_feature"
        assert "kind" in service.get("/openapi.json").body.decode()
        assert any("breaking change" in record.message for record in caplog.records)
        pin = build_package(tmp_path / "home" / "models", product, "2")
        swaps = "beacon_model_swaps_total{outcome=swapped}"
        write_release(tmp_path / "home" / "release.json", Release(pin))
        service.until(lambda: service.metrics()[swaps] == 2, "the new model is taken")
        assert one(service, {"size": 2.5}).error()[1] == "invalid_type"
        assert one(service, {"size": 2, "extra": True}).json()["model"]["version"] == "2"
