"""Explanations in the protocols of others: Open Inference and V1."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.explanations import explanations, sizes
from support.logged_inference import create
from support.packages import build_package, release_package
from support.service import Service
from support.settings import Settings
from support.waiting import until

from beacon_core.domain.product import Product
from beacon_core.model_package.release import Release, package_folder, write_release
from beacon_inference.prediction.inputs import MOST_EXPLAINED_ROWS as MOST_ROWS
from beacon_inference.protocols.tensor_data import read_binary

EXPLAIN, PREDICT = "/v1/explain", "/v1/predict"
INFER = "/v2/models/boston-housing/infer"
OUTPUTS = ["prediction", "low", "high", "prediction_id"]
EXPLAINED = ["base", "contributions", "contribution_features"]
pytestmark = pytest.mark.xdist_group("explain")


@pytest.fixture(scope="module")
def explained_home(tmp_path_factory: pytest.TempPathFactory, product: Product) -> Path:
    """A home whose model has an explanation.npz."""
    home = tmp_path_factory.mktemp("explain") / "home"
    release_package(home, product, explained=True)
    return home


@pytest.fixture(scope="module")
def service(explained_home: Path) -> Iterator[Service]:
    """Inference in process, for the tests that change nothing."""
    with Service(create(Settings(home=explained_home))) as running:
        yield running


def tensors(product: Product, rows: list[dict[str, float]], **more: Any) -> dict[str, Any]:
    """A request of Open Inference for these rows."""
    data = [[row[name] for name in product.feature_names] for row in rows]
    shape = [len(rows), len(product.feature_names)]
    return {"inputs": [{"name": "input-0", "shape": shape, "datatype": "FP64", "data": data}], **more}


def outputs(answer: Any) -> dict[str, tuple[list[int], list[Any]]]:
    assert answer.status == 200, answer.body
    return {each["name"]: (each["shape"], each["data"]) for each in answer.json()["outputs"]}


def test_open_inference_explains_what_it_predicts(service: Service, product: Product, row: dict[str, float]) -> None:
    """The same contributions as /v1/explain, in columns that are named; the prediction is logged as any other."""
    rows = [row, row | {"TAX": row["TAX"] + 100}]
    asked = tensors(product, rows, parameters={"explain": True})
    asked["inputs"][0]["data"][1][0] = None
    answer = service.post(INFER, asked)
    found = outputs(answer)
    assert list(found) == [*OUTPUTS, *EXPLAINED]
    width = len(product.feature_names)
    assert found["contribution_features"] == ([width], list(product.feature_names))
    missing = rows[1] | {product.feature_names[0]: None}
    wanted = explanations(service.post(EXPLAIN, {"rows": [{"features": each} for each in (row, missing)]}))
    assert found["base"] == ([2], [each["base"] for each in wanted])
    assert found["contributions"] == ([2, width], [size for each in wanted for size in sizes(each).values()])
    assert found["prediction"][1] == [each["prediction"] for each in wanted]
    assert answer.headers["beacon-logged"] == "true"
    (first, *_) = found["prediction_id"][1]
    until(lambda: service.get(f"/v1/predictions/{first}").status == 200, "the log has the prediction")
    assert service.get(f"/v1/predictions/{first}").json()["prediction"] == found["prediction"][1][0]


def test_open_inference_sends_explanations_in_binary(service: Service, product: Product, row: dict[str, float]) -> None:
    wanted = outputs(service.post(INFER, tensors(product, [row], parameters={"explain": True})))
    values = np.array([row[name] for name in product.feature_names], "<f8").tobytes()
    tensor = {
        "name": "input-0",
        "shape": [1, len(row)],
        "datatype": "FP64",
        "parameters": {"binary_data_size": len(values)},
    }
    parameters = {"explain": True, "binary_data_output": True}
    head = json.dumps({"inputs": [tensor], "parameters": parameters}).encode()
    headers = [("Inference-Header-Content-Length", str(len(head))), ("content-type", "application/octet-stream")]
    answer = service.post(INFER, head + values, headers)
    size = int(answer.headers["inference-header-content-length"])
    body, tail = json.loads(answer.body[:size]), answer.body[size:]
    found = {}
    for output in body["outputs"]:
        length = output["parameters"]["binary_data_size"]
        content, tail = tail[:length], tail[length:]
        found[output["name"]] = (output["shape"], read_binary(content, output["datatype"], "outputs"))
    assert tail == b""
    assert {name: (shape, list(values)) for name, (shape, values) in found.items() if name in EXPLAINED} == {
        name: wanted[name] for name in EXPLAINED
    }


@pytest.mark.parametrize("value", ["true", 1, 0, None, [True], {}])
def test_explain_is_true_or_false(service: Service, product: Product, row: dict[str, float], value: Any) -> None:
    answer = service.post(INFER, tensors(product, [row], parameters={"explain": value}))
    assert answer.error() == (422, "invalid_type", "parameters.explain")


def test_open_inference_explains_no_more_rows_than_explain(
    service: Service, product: Product, row: dict[str, float]
) -> None:
    explained = {"parameters": {"explain": True}}
    found = outputs(service.post(INFER, tensors(product, [row] * MOST_ROWS, **explained)))
    assert found["base"][0] == [MOST_ROWS]
    many = tensors(product, [row] * (MOST_ROWS + 1))
    answer = service.post(INFER, many | explained)
    assert answer.error() == (422, "batch_too_large", "inputs")
    assert f"1 to {MOST_ROWS} rows" in answer.json()["error"]
    # Who wants no explanation, or none of its outputs, may send more.
    assert list(outputs(service.post(INFER, many))) == OUTPUTS
    assert list(outputs(service.post(INFER, many | {"parameters": {"explain": False}}))) == OUTPUTS
    named = {"outputs": [{"name": "prediction"}]}
    assert list(outputs(service.post(INFER, many | explained | named))) == ["prediction"]


def test_the_outputs_of_an_explanation_are_there_with_explain_alone(
    service: Service, product: Product, row: dict[str, float]
) -> None:
    wanted = tensors(product, [row], outputs=[{"name": "contributions"}])
    answer = service.post(INFER, wanted)
    assert answer.error() == (400, "invalid_body", "outputs.contributions")
    assert "explain" in answer.json()["error"]
    assert list(outputs(service.post(INFER, wanted | {"parameters": {"explain": True}}))) == ["contributions"]


def test_an_explained_prediction_counts_as_one_and_not_in_the_time_that_predictions_take(
    service: Service, product: Product, row: dict[str, float]
) -> None:
    def requests(endpoint: str) -> float:
        return service.metrics()[f"http_requests_total{{endpoint={endpoint},method=POST,status=200}}"]

    template = "/v2/models/{name}/infer"
    outputs(service.post(INFER, tensors(product, [row])))
    before = {name: requests(name) for name in (template, EXPLAIN)}
    predicted = service.metrics()["model_predictions_total{model_version=1}"]
    outputs(service.post(INFER, tensors(product, [row, row], parameters={"explain": True})))
    assert {name: requests(name) for name in before} == before | {EXPLAIN: before[EXPLAIN] + 1}
    assert service.metrics()["model_predictions_total{model_version=1}"] == predicted + 2


def test_a_prediction_that_cannot_be_explained_is_not_logged(
    tmp_path: Path, product: Product, row: dict[str, float]
) -> None:
    """So a retry with its key is no second one; and a retry gets the first answer and its explanation."""
    pin = release_package(tmp_path, product, explained=True)
    folder = package_folder(tmp_path / "models", pin)
    key = [("Idempotency-Key", "once")]
    asked = tensors(product, [row], parameters={"explain": True})
    # Not the default address, at which a developer's `make run` may answer.
    with Service(create(Settings(home=tmp_path, mlflow_url="http://127.0.0.1:9"))) as service:
        whole = (folder / "explanation.npz").read_bytes()
        (folder / "explanation.npz").write_bytes(whole + b"x")
        assert service.post(INFER, asked, key).error()[:2] == (
            503,
            "registry_unavailable",
        )  # nor has MLflow the package
        assert service.get("/v1/predictions/once").status == 404
        (folder / "explanation.npz").write_bytes(whole)
        first = service.post(INFER, asked, key)
        assert outputs(first)["prediction_id"][1] == ["once"]
        new = build_package(tmp_path / "models", product, "2", bias=30.0)
        write_release(tmp_path / "release.json", Release(new))
        until(lambda: service.get("/readyz").json()["model"]["version"] == "2", "the new model serves")
        again = service.post(INFER, asked, key)
        assert again.body == first.body
        assert service.get("/v1/predictions/once").status == 200


def test_the_v1_protocol_explains(service: Service, product: Product, row: dict[str, float]) -> None:
    """KServe's verb: rows as :predict has them, answers as /v1/explain has them."""
    path = "/v1/models/boston-housing:explain"
    values = [row[name] for name in product.feature_names]
    answer = service.post(path, {"instances": [row, row]})
    found = explanations(answer)
    assert answer.json()["predictions"] == [each["prediction"] for each in found]
    assert found == explanations(service.post(EXPLAIN, {"rows": [{"features": row}] * 2}))
    assert service.post(path, {"instances": [values] * (MOST_ROWS + 1)}).error() == (
        422,
        "batch_too_large",
        "instances",
    )
    assert service.post(path, {}).error() == service.post(path.replace("explain", "predict"), {}).error()
    assert service.post("/v1/models/other:explain", {"instances": [values]}).error()[:2] == (404, "unknown_model")
