"""Triton's own HTTP client against the V2 routes of a real server, with tensors in JSON and in binary."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from support.inference import Inference
from support.packages import release_package, row_of
from tritonclient.utils import InferenceServerException

from beacon_core.domain.product import Product

pytestmark = pytest.mark.xdist_group("clients")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, product: Product) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("triton")
    release_package(folder / "home", product)
    with Inference(folder / "home", folder) as server:
        client = triton.InferenceServerClient(server.host)
        yield client
        client.close()


@pytest.fixture
def rows(product: Product) -> np.ndarray:
    return np.array([row_of(product)] * 3)


def tensor(values: np.ndarray, kind: str, *, binary: bool, name: str = "features") -> Any:
    made = triton.InferInput(name, list(values.shape), kind)
    made.set_data_from_numpy(values, binary_data=binary)
    return made


def test_health_and_metadata(client: Any, product: Product) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(product.name)
    assert client.is_model_ready(product.name, "1")
    assert not client.is_model_ready(product.name, "2")
    assert not client.is_model_ready("another")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata(product.name, "1")
    assert metadata["inputs"] == [{"name": "features", "datatype": "FP64", "shape": [-1, len(product.features)]}]


@pytest.mark.parametrize("binary_out", [False, True], ids=["json-out", "binary-out"])
@pytest.mark.parametrize("binary_in", [False, True], ids=["json-in", "binary-in"])
@pytest.mark.parametrize(("kind", "dtype"), [("FP64", np.float64), ("FP32", np.float32)])
def test_a_tensor_comes_back_as_numpy(
    client: Any, product: Product, rows: np.ndarray, kind: str, dtype: type, binary_in: bool, binary_out: bool
) -> None:
    asked = [
        triton.InferRequestedOutput(name, binary_data=binary_out) for name in ("prediction", "low", "prediction_id")
    ]
    given = tensor(rows.astype(dtype), kind, binary=binary_in)
    result = client.infer(product.name, [given], outputs=asked, request_id="mine")
    assert result.get_response()["id"] == "mine"
    assert result.get_response()["model_version"] == "1"
    prediction = result.as_numpy("prediction")
    assert prediction.shape == (3,)
    expected = 20 + 0.001 * rows.sum(axis=1)
    np.testing.assert_allclose(prediction, expected, atol=1e-4)
    np.testing.assert_allclose(result.as_numpy("low"), expected - 3, atol=1e-4)
    assert len(set(result.as_numpy("prediction_id").tolist())) == 3


def test_without_named_outputs_the_client_gets_all_in_binary(client: Any, product: Product, rows: np.ndarray) -> None:
    result = client.infer(product.name, [tensor(rows, "FP64", binary=True)], model_version="1")
    assert [output["name"] for output in result.get_response()["outputs"]] == [
        "prediction",
        "low",
        "high",
        "prediction_id",
    ]
    assert (result.as_numpy("low") < result.as_numpy("high")).all()


def test_named_columns(client: Any, product: Product, rows: np.ndarray) -> None:
    columns = [
        tensor(rows[:, [index]], "FP64", binary=index % 2 == 0, name=name)
        for index, name in enumerate(product.feature_names)
    ]
    result = client.infer(product.name, columns)
    np.testing.assert_allclose(result.as_numpy("prediction"), 20 + 0.001 * rows.sum(axis=1), atol=1e-4)


def test_bad_input_is_refused_with_a_reason(client: Any, product: Product, rows: np.ndarray) -> None:
    with pytest.raises(InferenceServerException, match="rows must have 12 values"):
        client.infer(product.name, [tensor(rows[:, :3], "FP64", binary=True)])
    with pytest.raises(InferenceServerException, match="there is no model another"):
        client.infer("another", [tensor(rows, "FP64", binary=True)])
    with pytest.raises(InferenceServerException, match="must be finite"):
        client.infer(product.name, [tensor(np.full_like(rows, np.inf), "FP64", binary=True)])
    with pytest.raises(InferenceServerException, match="compressed"):
        client.infer(product.name, [tensor(rows, "FP64", binary=True)], request_compression_algorithm="gzip")
