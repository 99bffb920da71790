"""Tables that are hard to search on train all the same, or are refused by the name of what is wrong."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from beacon_core.domain.product import Product, parse_product
from beacon_core.domain.spec import ProductError
from beacon_core.feature_store.names import BASE_EVENT_TIME, EVENT_TIME
from beacon_retraining.data.dataset import Dataset, dataset_of
from beacon_retraining.packaging.package import export_model
from beacon_retraining.training.fitting import FittedModel
from beacon_retraining.training.settings import TrainSettings
from beacon_retraining.training.target_scale import TransformError
from beacon_retraining.training.train import TrainedModel, train

ROWS = 300
SEARCHING = TrainSettings(
    folds=3, repeats=1, coverage_folds=3, jobs=2, trials=3, candidates=("ridge", "kernel-ridge", "xgboost", "blend")
)
FEATURES = {
    "a": {"type": "float"},
    "b": {"type": "float"},
    "kind": {"type": "category", "levels": "many"},
}


def product_of(**keys: object) -> Product:
    raw = {
        "name": "hard",
        "source": {"file": "x.csv"},
        "target": {"name": "y"},
        "features": FEATURES,
        "min_features": 1,
    }
    return parse_product(Path("product.yaml"), raw | keys, lambda _: None)


def rows(**columns: object) -> pd.DataFrame:
    random = np.random.default_rng(0)
    a, kind = random.normal(size=ROWS), random.integers(0, 4, ROWS)
    table = {
        "a": a,
        "b": random.normal(size=ROWS),
        "kind": [f"kind {number}" for number in kind],
        "y": 5 + a + kind + 0.2 * random.normal(size=ROWS),
        EVENT_TIME: pd.Timestamp(BASE_EVENT_TIME),
    }
    return pd.DataFrame(table | columns)


def searched(dataset: Dataset) -> TrainedModel:
    def check(fitted: FittedModel) -> None:
        export_model(dataset, fitted)

    found = train(dataset, product_of(), SEARCHING, check)
    assert found.summary.trials == 3
    assert found.result.r2 > 0.5
    return found


@pytest.mark.parametrize("size", [1e9, 1e-6, -1.0])
def test_a_target_of_any_size_is_searched_and_exported(size: float) -> None:
    table = rows()
    found = searched(dataset_of(product_of(), table.assign(y=size * table["y"])))
    assert found.result.rmse < 0.5 * abs(size)


@pytest.mark.parametrize(
    ("what", "columns"),
    [
        ("one row of a category", {"kind": ["alone", *(f"kind {at % 4}" for at in range(ROWS - 1))]}),
        ("300 categories", {"kind": [f"kind {at}" for at in range(ROWS)]}),
        ("a column twice", {"b": rows()["a"]}),
        ("all nulls", {"b": np.nan}),
        ("one value", {"b": 7.0}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_hard_column_is_searched_and_exported(what: str, columns: dict[str, object]) -> None:
    table = rows(**columns)
    if "kind" in columns:
        table["y"] = 5 + table["a"]
    searched(dataset_of(product_of(), table))


@pytest.mark.parametrize(
    ("values", "message"),
    [(3.0, "y: all training rows have one value, 3.0"), ([np.inf, *range(ROWS - 1)], r"y: is inf in training row 1")],
)
def test_a_target_that_no_model_can_learn_is_refused(values: object, message: str) -> None:
    with pytest.raises(TransformError, match=message):
        train(dataset_of(product_of(), rows(y=values)), product_of(), SEARCHING)


@pytest.mark.parametrize(
    ("key", "training", "rule"),
    [
        ("training.models[0]", {"models": ["forest"]}, "must be blend or .* or ridge or xgboost, is the text 'forest'"),
        ("training.models", {"models": ["blend"]}, "must name a family beside blend"),
        ("training.models", {"models": []}, "must name a family"),
        ("training.models", {"models": ["ridge", "ridge"]}, "twice"),
        ("training.budget_seconds", {"budget_seconds": -1}, "must be 0 to 86400"),
        ("training.budget_seconds", {"budget_seconds": float("nan")}, "must be 0 to 86400"),
        ("training.trials", {"trials": -1}, "must be 0 to"),
        ("training.metric", {"metric": "r2"}, "rmse"),
        ("training.monotone.c", {"monotone": {"c": "up"}}, "is not a feature"),
        ("training.monotone.kind", {"monotone": {"kind": "up"}}, "is no measurement"),
    ],
)
def test_a_wrong_key_of_the_search_is_refused_by_name(key: str, training: dict[str, object], rule: str) -> None:
    with pytest.raises(ProductError, match=rule) as refused:
        product_of(training=training)
    assert refused.value.key == key


def test_a_monotone_feature_that_another_column_is_computed_from_is_refused() -> None:
    features = FEATURES | {"ratio": {"type": "float", "derived": {"ratio": ["a", "b"]}}}
    with pytest.raises(ProductError, match="ratio is computed from it"):
        product_of(features=features, training={"monotone": {"a": "up"}})
