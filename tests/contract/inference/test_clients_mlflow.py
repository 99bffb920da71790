"""MLflow's own scoring client against /invocations, /ping and /version of a real server."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.inference import Inference
from support.packages import release_package, row_of

from beacon_core.domain.product import Product

pytestmark = [
    pytest.mark.xdist_group("clients"),
    # MLflow says this of its own types, when it is imported.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, product: Product) -> Iterator[Any]:
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient

    folder = tmp_path_factory.mktemp("mlflow")
    release_package(folder / "home", product)
    with Inference(folder / "home", folder) as server:
        yield ScoringServerClient(*server.host.split(":"))


@pytest.fixture
def frame(product: Product) -> pd.DataFrame:
    return pd.DataFrame([row_of(product)] * 3, columns=product.feature_names)


def predicted(answer: Any) -> list[float]:
    values: list[float] = answer["predictions"]
    return values


def test_the_server_is_ready_and_says_its_version(client: Any) -> None:
    client.wait_server_ready(timeout=20)
    assert client.get_version() == "0.1.0"


def test_a_frame_an_array_and_a_list_get_the_same_answer(client: Any, frame: pd.DataFrame) -> None:
    expected = 20 + 0.001 * frame.sum(axis=1)
    for data in (frame, frame.to_numpy(), frame.to_numpy().tolist()):
        np.testing.assert_allclose(predicted(client.invoke(data)), expected, atol=1e-4)


def test_a_missing_value_is_imputed_whether_it_comes_as_null_or_as_nan(client: Any, frame: pd.DataFrame) -> None:
    frame.loc[1, "RM"] = np.nan
    as_null = predicted(client.invoke(frame.astype(object).where(frame.notna(), None)))
    assert len(as_null) == 3
    for data in (frame, frame.to_numpy()):
        assert predicted(client.invoke(data)) == as_null


def test_bad_input_is_refused_with_a_reason(client: Any, frame: pd.DataFrame) -> None:
    with pytest.raises(Exception, match=r"422.*did you mean RM"):
        client.invoke(frame.rename(columns={"RM": "RMM"}))
