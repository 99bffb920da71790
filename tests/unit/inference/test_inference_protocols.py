"""The foreign protocols: V2, V1 and MLflow say what the native one says, and refuse as clearly."""

import json
import struct

import numpy as np
import pytest

V2, V1, MLFLOW = "/v2/models/boston-housing/infer", "/v1/models/boston-housing:predict", "/invocations"
CSV = [("Content-Type", "text/csv")]


@pytest.fixture
def service(shared_service):
    return shared_service


@pytest.fixture
def values(row):
    return list(row.values())


@pytest.fixture
def wanted(service, row):
    """The native answer."""
    return service.post("/v1/predict", {"features": row}).json()


def tensor(data, shape, datatype="FP64", name="features", **parameters):
    return {"name": name, "shape": shape, "datatype": datatype, "data": data} | (
        {"parameters": parameters} if parameters else {}
    )


def outputs(answer):
    return {output["name"]: output for output in answer.json()["outputs"]}


@pytest.mark.parametrize("version", ["", "/versions/1"])
@pytest.mark.parametrize("nested", [True, False])
def test_v2_takes_one_tensor(service, values, wanted, version, nested):
    path = f"/v2/models/boston-housing{version}/infer"
    data = [values, values] if nested else values * 2
    answer = service.post(path, {"id": "my id", "inputs": [tensor(data, [2, 12])]})
    body = answer.json()
    assert (body["id"], body["model_name"], body["model_version"]) == ("my id", "boston-housing", "1")
    found = outputs(answer)
    assert list(found) == ["prediction", "low", "high", "prediction_id"]
    assert all(output["shape"] == [2] for output in found.values())
    assert found["prediction"]["data"] == [wanted["prediction"]] * 2
    assert found["low"]["data"] == [wanted["interval"]["low"]] * 2
    assert found["prediction_id"]["datatype"] == "BYTES"
    kept = service.get(f"/v1/predictions/{found['prediction_id']['data'][1]}")
    assert kept.json()["prediction"] == wanted["prediction"]


@pytest.mark.parametrize("shape", [[1], [1, 1]])
def test_v2_takes_named_columns_and_imputes_what_is_not_there(service, row, wanted, shape):
    inputs = [tensor([value], shape, name=name) for name, value in row.items() if name != "RM"]
    found = outputs(service.post(V2, {"inputs": inputs}))
    assert found["prediction"]["data"] == [wanted["prediction"]]
    name = found["prediction_id"]["data"][0]
    assert service.get(f"/v1/predictions/{name}").json()["imputed"] == ["RM"]


def test_v2_gives_only_the_outputs_asked_for(service, values):
    body = {"inputs": [tensor([values], [1, 12])], "outputs": [{"name": "low"}]}
    assert list(outputs(service.post(V2, body))) == ["low"]
    refused = service.post(V2, body | {"outputs": [{"name": "price"}]})
    assert refused.error() == (400, "invalid_body", "outputs.price")


def binary(head, *tails):
    content = json.dumps(head).encode()
    length = [("Inference-Header-Content-Length", str(len(content)))]
    return content + b"".join(tails), [*length, ("Content-Type", "application/octet-stream")]


@pytest.mark.parametrize(("datatype", "dtype"), [("FP64", "<f8"), ("FP32", "<f4")])
def test_v2_takes_and_gives_binary_tensors(service, values, wanted, datatype, dtype):
    content = np.array(values, dtype=dtype).tobytes()
    given = {"name": "features", "shape": [1, 12], "datatype": datatype}
    given["parameters"] = {"binary_data_size": len(content)}
    body, headers = binary({"inputs": [given], "parameters": {"binary_data_output": True}}, content)
    answer = service.post(V2, body, headers)
    length = int(answer.headers["inference-header-content-length"])
    head, tail = json.loads(answer.body[:length]), answer.body[length:]
    assert answer.headers["content-type"] == "application/octet-stream"
    sizes = [output["parameters"]["binary_data_size"] for output in head["outputs"]]
    assert sum(sizes) == len(tail)
    prediction, low, high = struct.unpack("<3d", tail[:24])
    assert prediction == pytest.approx(wanted["prediction"], abs=1e-4)
    assert (prediction - low, high - prediction) == (pytest.approx(3, abs=1e-4), pytest.approx(4, abs=1e-4))
    assert struct.unpack("<I", tail[24:28])[0] == len(tail) - 28


def test_v2_takes_columns_of_several_binary_types(service, row, wanted):
    kinds = {"CHAS": ("UINT8", "u1"), "RAD": ("INT64", "<i8")}
    inputs, tails = [], []
    for name, value in row.items():
        datatype, dtype = kinds.get(name, ("FP64", "<f8"))
        tails.append(np.array([value], dtype=dtype).tobytes())
        parameters = {"binary_data_size": len(tails[-1])}
        inputs.append({"name": name, "shape": [1], "datatype": datatype, "parameters": parameters})
    body, headers = binary({"inputs": inputs}, *tails)
    assert outputs(service.post(V2, body, headers))["prediction"]["data"] == [wanted["prediction"]]


V2_BAD = [
    ({}, 400, "invalid_body", None),
    ({"inputs": []}, 400, "invalid_body", "inputs"),
    ({"inputs": [tensor([1.0] * 11, [1, 11])]}, 422, "invalid_shape", "inputs[0].data"),
    ({"inputs": [tensor([1.0] * 12, [2, 12])]}, 422, "invalid_shape", "inputs[0].shape"),
    ({"inputs": [tensor([1.0] * 12, [1, -12])]}, 422, "invalid_shape", "inputs[0].shape"),
    ({"inputs": [tensor([1.0] * 12, [1, 1, 12])]}, 422, "invalid_shape", "inputs[0].shape"),
    ({"inputs": [tensor([], [2**32, 2**32])]}, 422, "invalid_shape", "inputs[0].shape"),
    ({"inputs": [tensor([], [10**30, 10**30])]}, 422, "invalid_shape", "inputs[0].shape"),
    ({"inputs": [tensor([], [0, 12])]}, 400, "invalid_body", "inputs[0].data"),
    ({"inputs": [tensor(["a"] * 12, [1, 12])]}, 422, "invalid_type", "inputs[0].data[0]"),
    ({"inputs": [tensor(["6.5"] * 12, [1, 12], "BYTES")]}, 422, "invalid_type", "inputs[0].datatype"),
    ({"inputs": [tensor([True] * 12, [1, 12])]}, 422, "invalid_type", "inputs[0].data[0]"),
    ({"inputs": [tensor([1.0], [1], name="RM"), tensor([1.0], [1], name="RM")]}, 422, "invalid_shape", "inputs.RM"),
    ({"inputs": [tensor([1.0], [1], name="RM"), tensor([1.0], [1], name="B")]}, 422, "unknown_feature", "inputs.B"),
    ({"inputs": [tensor([1, 2], [2], name="RM"), tensor([1], [1], name="ZN")]}, 422, "invalid_shape", "inputs"),
    ({"inputs": [tensor([1.5], [1], name="tract_id")]}, 422, "invalid_entity", "inputs[0].tract_id"),
    ({"inputs": [tensor([21.0], [1], name="RM")]}, 422, "out_of_valid_range", "inputs[0].RM"),
    ({"inputs": [{"name": "x", "shape": [1, 12], "datatype": "FP64"}]}, 400, "invalid_body", "inputs[0].data"),
]


@pytest.mark.parametrize(("body", "status", "code", "field"), V2_BAD, ids=lambda value: repr(value)[:60])
def test_v2_refuses_what_does_not_fit(service, body, status, code, field):
    assert service.post(V2, body).error() == (status, code, field)


RAW = [
    b'{"inputs":[{"name":"features","shape":[1,12],"datatype":"FP64","data":[1e999]}]}',
    b'{"inputs":[{"name":"features","shape":[1,12],"datatype":"FP64","data":[NaN]}]}',
    b'{"inputs":[{"name":"features","shape":[1,12],"datatype":"FP64","data":["\xff"]}]}',
    b'{"inputs":[{"name":"features","shape":[1,12],"datatype":"FP64","data":["\\ud800"]}]}',
    b'{"inputs":[],"parameters":{"x":1e999}}',
    b'{"inputs":[{"name":"\xff"}]}',
    b'{"instances":[{"RM":1e999}]}',
    b'{"instances":[{"RM":"\xff"}]}',
    b'{"instances":[{"\\ud800":1}]}',
    b'{"instances":["\xff"]}',
    b'{"instances":[[1e999]]}',
    b'{"instances":[' + b"1" * 5000 + b"]}",
    b'{"instances":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"instances":' + b"[" * 500 + b"]" * 500 + b"}",
    b'{"inputs":{"RM":[1e999]}}',
    b'{"inputs":{"RM":{"a":1}}}',
    b'{"inputs":{}}',
    b'{"dataframe_records":[{"RM":1e999}]}',
    b'{"dataframe_records":[{"RM":-Infinity}]}',
    b'{"dataframe_split":{"columns":["RM"],"data":[[NaN]]}}',
    b'{"dataframe_split":{"columns":["\xff"],"data":[[1]]}}',
    b'{"dataframe_split":{"columns":[],"data":[[]]}}',
    b"null",
    b"",
    b"\xff",
    b"[" * 100_000,
]


@pytest.mark.parametrize("path", [V2, V1, MLFLOW])
@pytest.mark.parametrize("body", RAW, ids=lambda body: repr(body)[:50])
def test_no_protocol_stumbles_over_odd_json(service, path, body):
    status, code, _ = service.post(path, body).error()
    assert status in {400, 422}, code


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (V1, b'{"instances":[{"RM":1e999}]}', "instances[0].RM"),
        (V1, b'{"inputs":{"RM":[1e999]}}', "inputs[0].RM"),
        (V1, b'{"instances":[{"RM":NaN}]}', "instances[0].RM"),
        (MLFLOW, b'{"dataframe_records":[{"RM":Infinity,"ZN":NaN}]}', "dataframe_records[0].RM"),
        (MLFLOW, b'{"dataframe_split":{"columns":["RM"],"data":[[6],[1e999]]}}', "dataframe_split.data[1].RM"),
        (V2, b'{"inputs":[{"name":"RM","shape":[1],"datatype":"FP64","data":[NaN]}]}', "inputs[0].data[0]"),
    ],
)
def test_a_number_that_is_not_finite_is_named(service, path, body, field):
    assert service.post(path, body).error() == (422, "not_finite", field)


def test_mlflow_takes_a_bare_nan_for_a_missing_value(service, row):
    """MLflow's client writes the missing values of a data frame so, and MLflow's own server reads them."""
    forms = [
        {"dataframe_split": {"columns": list(row), "data": [list(row.values())]}},
        {"dataframe_records": [row]},
        {"instances": [list(row.values())]},
        {"instances": [row]},
        {"inputs": [list(row.values())]},
        {"inputs": {name: [value] for name, value in row.items()}},
    ]
    before = service.metrics()["model_imputations_total{feature=RM}"]
    for number, form in enumerate(forms):
        body = json.dumps(form)
        assert body.count(str(row["RM"])) == 1
        as_nan, as_null = (body.replace(str(row["RM"]), word).encode() for word in ("NaN", "null"))
        answer = service.post(MLFLOW, as_nan)
        assert answer.status == 200, answer.body
        assert answer.body == service.post(MLFLOW, as_null).body
        key = [("Idempotency-Key", f"nan-{number}")]
        assert service.post(MLFLOW, as_nan, key).status == 200
        assert service.get(f"/v1/predictions/{key[0][1]}").json()["imputed"] == ["RM"]
    assert service.metrics()["model_imputations_total{feature=RM}"] == before + 3 * len(forms)


@pytest.mark.parametrize("body", [b'{"inputs":NaN}', b'{"inputs":[["NaN"]]}', b"NaN", b'{"NaN":1e999}'])
def test_a_nan_where_no_value_is_missing_is_refused(service, body):
    assert service.post(MLFLOW, body).error()[0] in {400, 422}


def test_v2_refuses_an_empty_tensor_of_a_shape_that_cannot_be(service):
    body, headers = binary({"inputs": [tensor([], [0, 2**62], binary_data_size=0)]}, b"")
    assert service.post(V2, body, headers).error() == (422, "invalid_shape", "inputs[0].shape")


@pytest.mark.parametrize("size", [-8, 0, 95, 97, 10**9, "96", True, 1.5])
def test_v2_refuses_binary_parts_of_another_size(service, values, size):
    content = np.array(values, dtype="<f8").tobytes()
    given = {"name": "features", "shape": [1, 12], "datatype": "FP64", "parameters": {"binary_data_size": size}}
    body, headers = binary({"inputs": [given]}, content)
    assert service.post(V2, body, headers).error()[0] in {400, 422}


@pytest.mark.parametrize("length", ["-1", "x", "9999999", "1" * 500, "5", ""])
def test_v2_refuses_a_wrong_header_length(service, values, length):
    body = json.dumps({"inputs": [tensor([values], [1, 12])]}).encode()
    assert service.post(V2, body, [("Inference-Header-Content-Length", length)]).error()[0] == 400


def test_v2_binary_infinity_is_refused_and_nan_is_missing(service, values, row):
    for odd, status in ((np.inf, 422), (-np.inf, 422), (np.nan, 200)):
        content = np.array([odd, *values[1:]], dtype="<f8").tobytes()
        given = {"name": "features", "shape": [1, 12], "datatype": "FP64"}
        body, headers = binary({"inputs": [given | {"parameters": {"binary_data_size": 96}}]}, content)
        answer = service.post(V2, body, headers)
        assert answer.status == status
        if status == 422:
            assert answer.error() == (422, "not_finite", "inputs[0].data[0].CRIM")


@pytest.mark.parametrize(
    "path",
    [
        "/v2/models/other/infer",
        "/v2/models/boston-housing/versions/7/infer",
        "/v1/models/other:predict",
        "/v1/models/other::predict",
        "/v2/models/../infer",
        "/v2/models/%2e%2e%2f/infer",
        "/v2/models/..\\/infer",
        "/v2/models/\x00/infer",
        "/v2/models/" + "a" * 4000 + "/infer",
        "/v2/models/\u2024\u2024/infer",
        "/v2/models/../../etc/passwd/infer",
    ],
)
def test_another_model_or_version_is_404(service, values, path):
    answer = service.post(path, {"inputs": [tensor([values], [1, 12])], "instances": [values]})
    assert answer.error()[0] == 404
    assert len(answer.body) < 1000


def test_health_and_metadata_name_the_model_in_service(service, product):
    assert service.get("/v2/health/ready").json() == {"ready": True}
    for path in ("/v2/models/boston-housing", "/v2/models/boston-housing/versions/1"):
        body = service.get(path).json()
        assert body["versions"] == ["1"]
        assert body["inputs"] == [{"name": "features", "datatype": "FP64", "shape": [-1, 12]}]
    assert service.get("/v2/models/boston-housing/ready").json()["ready"] is True
    assert service.get("/v1/models/boston-housing").json()["model_version_status"][0]["state"] == "AVAILABLE"
    assert service.get("/v2/models/other").error()[:2] == (404, "unknown_model")
    assert service.get("/v2/models/boston-housing/versions/9/ready").error()[:2] == (404, "unknown_model")
    assert service.get("/ping").status == 200
    assert service.get("/version").body.decode() == "0.1.0"


def forms(row):
    """One row in every JSON form of V1 and MLflow."""
    names, values = list(row), list(row.values())
    columns = {name: [value] for name, value in row.items()}
    return {
        "lists": {"instances": [values]},
        "objects": {"instances": [row]},
        "input lists": {"inputs": [values]},
        "columns": {"inputs": columns},
        "column vectors": {"inputs": {name: [[value]] for name, value in row.items()}},
        "scalars": {"inputs": row},
        "split": {"dataframe_split": {"columns": names, "data": [values], "index": [0]}},
        "records": {"dataframe_records": [row]},
    }


FORMS = list(forms({}))


@pytest.mark.parametrize("form", FORMS)
def test_mlflow_takes_its_four_forms(service, row, wanted, form):
    assert service.post(MLFLOW, forms(row)[form]).json() == {"predictions": [wanted["prediction"]]}


@pytest.mark.parametrize("form", FORMS[:6])
def test_v1_takes_instances_and_inputs(service, row, wanted, form):
    assert service.post(V1, forms(row)[form]).json() == {"predictions": [wanted["prediction"]]}


@pytest.mark.parametrize("form", FORMS)
def test_missing_values_are_imputed_in_every_form_and_named_in_a_header(service, row, wanted, form):
    answer = service.post(MLFLOW, forms(row | {"RM": None, "LSTAT": None})[form])
    assert answer.json() == {"predictions": [wanted["prediction"]]}
    assert answer.headers["beacon-imputed"] == "RM, LSTAT"
    assert "beacon-imputed" not in service.post(MLFLOW, forms(row)[form]).headers


@pytest.mark.parametrize("kind", ["text/csv", "text/csv; charset=utf-8"])
def test_mlflow_takes_csv(service, row, wanted, kind):
    lines = [
        ",".join(row),
        ",".join(map(str, row.values())),
        *(",".join(word if n == "RM" else str(v) for n, v in row.items()) for word in ("", "NA", "NaN", "nan")),
    ]
    answer = service.post(MLFLOW, "\r\n".join(lines).encode(), [("Content-Type", kind)])
    assert answer.json() == {"predictions": [wanted["prediction"]] * 5}


CSV_BAD = [
    (b"", 400, "invalid_body"),
    (b"RM,ZN", 400, "invalid_body"),
    (b"RM,ZN\n1", 422, "invalid_shape"),
    (b"RM,RM\n6,7", 422, "invalid_shape"),
    (b"RMM\n6", 422, "unknown_feature"),
    (b"RM\n1_000", 422, "invalid_type"),
    (b"RM\nsix", 422, "invalid_type"),
    ("RM\n\u0661".encode(), 422, "invalid_type"),
    (b"RM\n-Infinity", 422, "not_finite"),
    (b"RM\n1e999", 422, "not_finite"),
    (b"\xff", 400, "invalid_body"),
    (b'RM\n"6', 400, "invalid_body"),
    (b"RM\n\x00", 422, "invalid_type"),
    (b"RM\n" + b"6\n" * 1001, 422, "batch_too_large"),
    (b"RM\n" + b"6" * 140_000, 400, "invalid_body"),
]


@pytest.mark.parametrize(("body", "status", "code"), CSV_BAD, ids=lambda value: repr(value)[:30])
def test_a_bad_csv_is_refused(service, body, status, code):
    answer = service.post(MLFLOW, body, CSV)
    assert answer.error()[:2] == (status, code)
    assert answer.json()["error_code"] == "BAD_REQUEST"
    assert answer.json()["message"] == answer.json()["error"]


TABLES_BAD = [
    (V1, {}, 400, "invalid_body", "instances"),
    (V1, {"instances": [], "inputs": []}, 400, "invalid_body", "instances"),
    (V1, {"instances": []}, 400, "invalid_body", "instances"),
    (V1, {"instances": [1, 2]}, 422, "invalid_shape", "instances[0]"),
    (V1, {"instances": [[1, 2]]}, 422, "invalid_shape", "instances"),
    (V1, {"instances": [[1], [1, 2]]}, 422, "invalid_shape", "instances"),
    (V1, {"instances": [{"RM": 6}, [6]]}, 422, "invalid_type", "instances[1]"),
    (V1, {"instances": [{"RM": "6"}]}, 422, "invalid_type", "instances[0].RM"),
    (V1, {"instances": [{"RMM": 6}]}, 422, "unknown_feature", "instances[0].RMM"),
    (V1, {"instances": [{"B": 6}]}, 422, "unknown_feature", "instances[0].B"),
    (V1, {"instances": [{"RM": 6}]}, 422, "too_few_features", "instances[0]"),
    (V1, {"instances": [{"tract_id": 1.5}]}, 422, "invalid_entity", "instances[0].tract_id"),
    (V1, {"instances": [{}] * 1001}, 422, "batch_too_large", "instances"),
    (V1, {"inputs": {"RM": [1, 2], "ZN": [1]}}, 422, "invalid_shape", "inputs"),
    (MLFLOW, {}, 400, "invalid_body", None),
    (MLFLOW, {"instances": [[1]], "inputs": [[1]]}, 400, "invalid_body", None),
    (MLFLOW, {"dataframe_records": None, "dataframe_split": None, "inputs": None}, 400, "invalid_body", None),
    (MLFLOW, {"dataframe_records": 7}, 400, "invalid_body", "dataframe_records"),
    (MLFLOW, {"dataframe_records": {"RM": 6}}, 400, "invalid_body", "dataframe_records"),
    (MLFLOW, {"dataframe_split": {"columns": ["RM"], "data": [[1, 2]]}}, 422, "invalid_shape", "dataframe_split.data"),
    (MLFLOW, {"dataframe_records": [{"RM": 99}]}, 422, "out_of_valid_range", "dataframe_records[0].RM"),
]


@pytest.mark.parametrize(("path", "body", "status", "code", "field"), TABLES_BAD, ids=lambda value: repr(value)[:50])
def test_a_bad_table_is_refused(service, path, body, status, code, field):
    assert service.post(path, body).error() == (status, code, field)


def test_rows_that_share_no_names_cannot_fill_the_memory(service):
    # 150,000 rows of one name each would be a table of 150,000 times 150,000.
    body = b'{"dataframe_records":[%s]}' % b",".join(b'{"%d":1}' % number for number in range(150_000))
    assert service.post(MLFLOW, body).error()[:2] == (413, "body_too_large")
    body = b'{"dataframe_records":[%s]}' % b",".join(b'{"%d":1}' % number for number in range(900))
    assert service.post(MLFLOW, body).error() == (422, "unknown_feature", "dataframe_records[0].0")
