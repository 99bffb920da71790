"""Null for an optional member: what libraries write for a member that is not set means that it is not there."""

import json

import numpy as np
import pytest
from support.packages import row_of
from support.products import SPEC

from beacon_core.feature_store.definitions import push_source_name, view_name
from beacon_core.feature_store.names import CREATED_TIME, EVENT_TIME
from beacon_core.platform.product_file import load_product

pytestmark = pytest.mark.xdist_group("reports")

PRODUCT = load_product(SPEC)
KEY, VALUES = PRODUCT.entity.key, row_of(PRODUCT)
ROW = dict(zip(PRODUCT.feature_names, VALUES, strict=True))
V2, V1, MLFLOW = f"/v2/models/{PRODUCT.name}/infer", f"/v1/models/{PRODUCT.name}:predict", "/invocations"
TENSOR = {"name": "features", "shape": [1, len(VALUES)], "datatype": "FP64", "data": VALUES}
SPLIT = {"columns": list(ROW), "data": [VALUES]}
ALL_NULL = dict.fromkeys(("dataframe_split", "dataframe_records", "instances", "inputs", "params"))

# By door: a body without the member, and with null for it (in which case the answer must be the same).
SAME = {
    "native features": ("/v1/predict", {"entity": {KEY: 1}}, {"features": None}),
    "native entity": ("/v1/predict", {"features": ROW}, {"entity": None, "prediction_id": None}),
    "v2 id": (V2, {"inputs": [TENSOR]}, {"id": None}),
    "v2 parameters": (V2, {"inputs": [TENSOR]}, {"parameters": None}),
    "v2 outputs": (V2, {"inputs": [TENSOR]}, {"outputs": None}),
    "v2 all": (V2, {"inputs": [TENSOR]}, {"id": None, "parameters": None, "outputs": None}),
    "v2 tensor": (V2, {"inputs": [TENSOR]}, {"inputs": [TENSOR | {"parameters": None}]}),
    "v2 size": (V2, {"inputs": [TENSOR]}, {"inputs": [TENSOR | {"parameters": {"binary_data_size": None}}]}),
    "v2 content type": (V2, {"inputs": [TENSOR]}, {"inputs": [TENSOR | {"parameters": {"content_type": None}}]}),
    "v2 binary output": (V2, {"inputs": [TENSOR]}, {"parameters": {"binary_data_output": None}}),
    "v2 output": (
        V2,
        {"inputs": [TENSOR], "outputs": [{"name": "prediction"}]},
        {"outputs": [{"name": "prediction", "parameters": None}]},
    ),
    "v2 output's binary data": (
        V2,
        {"inputs": [TENSOR], "outputs": [{"name": "prediction"}]},
        {"outputs": [{"name": "prediction", "parameters": {"binary_data": None}}]},
    ),
    "v1 signature": (V1, {"instances": [VALUES]}, {"signature_name": None}),
    "v1 inputs": (V1, {"instances": [VALUES]}, {"inputs": None, "signature_name": None}),
    "v1 instances": (V1, {"inputs": [ROW]}, {"instances": None}),
    "mlflow params": (MLFLOW, {"instances": [VALUES]}, {"params": None}),
    **{
        f"mlflow {name}": (MLFLOW, {name: value}, ALL_NULL | {name: value})
        for name, value in (
            *(("dataframe_split", SPLIT), ("dataframe_records", [ROW])),
            *(("instances", [ROW]), ("inputs", {name: [value] for name, value in ROW.items()})),
        )
    },
    "mlflow index": (MLFLOW, {"dataframe_split": SPLIT}, {"dataframe_split": SPLIT | {"index": None}}),
}


def comparable(answer):
    """An answer without what is new at each request."""
    found = answer.json()
    for each in found.get("outputs", []):
        if each["name"] == "prediction_id":
            each["data"] = None
    return {name: value for name, value in found.items() if name != "prediction_id"}


@pytest.mark.parametrize("door", SAME)
def test_null_says_that_an_optional_member_is_not_there(inference, door):
    path, body, nulls = SAME[door]
    without = inference.post(path, json=body)
    answer = inference.post(path, json=body | nulls)
    assert without.status_code == 200, without.text
    assert answer.status_code == 200, answer.text
    assert comparable(answer) == comparable(without)


def test_a_null_for_one_output_leaves_the_answer_binary(inference):
    asked = [{"name": "prediction", "parameters": {"binary_data": None}}, {"name": "low", "parameters": None}]
    body = {"inputs": [TENSOR], "outputs": asked, "parameters": {"binary_data_output": True}}
    answer = inference.post(V2, json=body)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert len(answer.content) == int(answer.headers["inference-header-content-length"]) + 2 * 8


def test_binary_data_may_come_beside_a_null(inference):
    content = np.array(VALUES, dtype="<f8").tobytes()
    tensor = TENSOR | {"data": None, "parameters": {"binary_data_size": len(content)}}
    head = json.dumps({"id": None, "parameters": None, "inputs": [tensor], "outputs": None}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    assert inference.post(V2, content=head + content, headers=headers).status_code == 200


MANDATORY = [
    (V2, {"inputs": None}),
    (V2, {"inputs": [None]}),
    *((V2, {"inputs": [TENSOR | {name: None}]}) for name in ("name", "shape", "datatype", "data")),
    (V2, {"inputs": [TENSOR], "outputs": [None]}),
    (V2, {"inputs": [TENSOR], "outputs": [{"name": None}]}),
    (V1, {"instances": None}),
    (V1, {"instances": None, "inputs": None}),
    (V1, {"instances": [None]}),
    (MLFLOW, ALL_NULL),
    (MLFLOW, {"dataframe_split": SPLIT | {"columns": None}}),
    (MLFLOW, {"dataframe_split": SPLIT | {"data": None}}),
    (MLFLOW, {"dataframe_records": [None]}),
    ("/v1/predict", {"entity": {KEY: None}}),
    ("/v1/predict/batch", {"rows": None}),
    ("/v1/predict/batch", {"rows": [None]}),
    ("/v1/actuals", {"actuals": None}),
    ("/v1/actuals", {"actuals": [None]}),
]


@pytest.mark.parametrize(("path", "body"), MANDATORY, ids=lambda value: json.dumps(value)[:60])
def test_null_for_what_must_be_there_is_refused(inference, path, body):
    answer = inference.post(path, json=body)
    assert answer.status_code in {400, 422}, answer.text
    assert answer.json()["error"]


def test_an_actual_may_have_nulls(inference):
    name = inference.post("/v1/predict", json={"features": ROW}).json()["prediction_id"]
    by_id = {"value": 20, "prediction_id": name, "entity": None, "observed_at": None, "source": None}
    assert inference.post("/v1/actuals", json=by_id).json()["outcomes"] == ["accepted"]
    kept = inference.get(f"/v1/predictions/{name}").json()["actual"]
    assert (kept["value"], kept["source"]) == (20, "api")
    by_entity = {"value": 21, "prediction_id": None, "entity": {KEY: 5}, "observed_at": "2026-01-31T12:00:00Z"}
    assert inference.post("/v1/actuals", json={"actuals": [by_entity]}).status_code == 200
    for lacking in ({"value": None}, {"prediction_id": None}):
        assert inference.post("/v1/actuals", json=by_id | lacking).status_code in {400, 422}


FEATURES = [
    {"features": None},
    {"full_feature_names": None, "include_feature_view_version_metadata": None},
    {"features": None, "full_feature_names": None, "include_feature_view_version_metadata": None},
]


@pytest.mark.parametrize("nulls", FEATURES, ids=", ".join)
def test_feasts_documents_take_nulls(features, nulls):
    body = {"feature_service": PRODUCT.feature_service, "entities": {KEY: [1, 2]}}
    without = features.post("/get-online-features", json=body)
    answer = features.post("/get-online-features", json=body | nulls)
    assert answer.status_code == 200, answer.text
    assert answer.json() == without.json()


def test_feasts_writes_take_nulls(features):
    columns = {KEY: [900_002], EVENT_TIME: ["2026-01-31T12:00:00Z"], CREATED_TIME: [None]}
    columns |= {name: [value] for name, value in ROW.items()}
    cached = {"allow_registry_cache": None, "transform_on_write": None}
    push = {"push_source_name": push_source_name(PRODUCT), "df": columns, "to": None, **cached}
    assert features.post("/push", json=push).status_code == 200
    write = {"feature_view_name": view_name(PRODUCT), "df": columns, **cached}
    assert features.post("/write-to-online-store", json=write).status_code == 200
    times = {"start_ts": "2026-01-01T00:00:00Z", "end_ts": "2026-01-02T00:00:00Z"}
    nulls = dict.fromkeys(("feature_views", "disable_event_timestamp", "full_feature_names", "version"))
    assert features.post("/materialize", json=times | nulls).status_code == 200
    for body in (push | {"df": None}, push | {"push_source_name": None}):
        assert features.post("/push", json=body).status_code == 422
