"""Training code that is wrong in some way: each is told by its key, its function and the rule, before the search."""

from pathlib import Path
from textwrap import dedent

import numpy as np
import pandas as pd
import pytest
from support.products import write_spec

from beacon_core.domain.product import Product
from beacon_retraining.data.dataset import Dataset, dataset_of
from beacon_retraining.packaging.package import export_model
from beacon_retraining.training.entry_point.code import TrainingCode, training_code
from beacon_retraining.training.entry_point.errors import EntryPointError
from beacon_retraining.training.entry_point.probe import try_code, try_fit
from beacon_retraining.training.recipes import recipe_of
from beacon_retraining.training.settings import TrainSettings
from beacon_retraining.training.train import train

FEATURES = {
    "length": {"type": "float", "nullable": True},
    "used": {"type": "bool"},
    "kind": {"type": "category", "levels": "many"},
}
ROWS = 120
NAME = "pricing.model:build"
ENCODED = """
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    def encoded(inputs, model):
        text = OneHotEncoder(handle_unknown="ignore")
        return make_pipeline(ColumnTransformer([("text", text, inputs.text)], remainder="passthrough"), model)
"""


def product_of(folder: Path) -> Product:
    return write_spec(folder, FEATURES, training={"entry_point": NAME})


def dataset_from(product: Product) -> Dataset:
    random = np.random.default_rng(1)
    kinds = random.choice(["round", "square", "long"], ROWS)
    length = random.uniform(1, 9, ROWS)
    return dataset_of(
        product,
        pd.DataFrame(
            {
                "length": np.where(random.random(ROWS) < 0.1, np.nan, length),
                "used": random.random(ROWS) < 0.5,
                "kind": kinds,
                "outcome": 3 * length + (kinds == "long") * 5,
                "event_timestamp": pd.Timestamp("2024-01-01", tz="UTC"),
            }
        ),
    )


def code_of(text: str, seconds: float = 60.0) -> TrainingCode:
    return training_code(NAME, {"pricing/model.py": dedent(ENCODED) + dedent(text)}, seconds)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("import no_such_library", "needs the module no_such_library, .*uv add --group training"),
        ("1 / 0", r"ZeroDivisionError: division by zero \(training/pricing/model\.py, line 10\)"),
        ("def build(inputs", r"SyntaxError: .* was never closed"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("build = 3", "has no function build"),
        ("def build(): ...", "must take one argument, the inputs of training"),
        ("def build(inputs): raise ValueError('no')", "ValueError: no"),
        ("def build(inputs): return None", "gave a NoneType, which has no fit and no predict"),
        ("def build(inputs): return LinearRegression", "gave the class LinearRegression: must give an estimator"),
        (
            "from sklearn.linear_model import LogisticRegression\ndef build(inputs): return LogisticRegression()",
            "gave a classifier",
        ),
        (
            "import os\ndef build(inputs): os._exit(7)",
            "building the estimator crashed: its process ended with status 7",
        ),
        (
            "import time\ndef build(inputs): time.sleep(100)",
            r"took more than 2 s, and was ended \(training.fit_seconds",
        ),
    ],
)
def test_code_that_gives_no_estimator_is_refused(tmp_path: Path, text: str, rule: str) -> None:
    with pytest.raises(EntryPointError, match=rf"training\.entry_point: pricing\.model:build: .*{rule}"):
        try_code(code_of(text, 2.0 if "sleep" in text else 60.0), product_of(tmp_path), 0)


def test_a_module_or_a_package_that_is_not_there_is_refused(tmp_path: Path) -> None:
    code = training_code("pricing.modle:build", {"pricing/model.py": ""}, 60)
    with pytest.raises(EntryPointError, match=r"no module pricing\.modle in the folder training \(pricing/model\.py\)"):
        try_code(code, product_of(tmp_path), 0)


ESTIMATOR = """
    import os, time
    import numpy as np
    from sklearn.base import BaseEstimator, RegressorMixin

    class Own(RegressorMixin, BaseEstimator):
        def fit(self, table, target):
            {fit}
            return self
        def predict(self, table):
            return {predict}

    def build(inputs):
        return Own()
"""


@pytest.mark.parametrize(
    ("fit", "predict", "rule"),
    [
        ("pass", "['a'] * len(table)", "the prediction: predicts text"),
        ("pass", "np.zeros((len(table), 2))", "gives 2 outputs"),
        ("pass", "np.zeros(3)", r"answers of shape \(3,\)"),
        ("pass", "np.full(len(table), np.nan)", "predicts nan for 120 of 120 rows"),
        ("raise KeyError('shape')", "0", r"the fit: KeyError: 'shape' \(training/pricing/model\.py"),
        ("os.abort()", "0", "the fit crashed: its process ended with status -6"),
        ("time.sleep(100)", "0", r"the fit took more than 2 s, and was ended \(training\.fit_seconds\)"),
        ("self.all = [np.ones(1 << 24) for _ in range(999)]", "0", "the fit took .* GB of memory, more than"),
        ("self.by = np.random.default_rng().random()", "np.full(len(table), self.by)", "random_state"),
        ("pass", "np.zeros(len(table))", "the conversion to ONNX: cannot be converted by skl2onnx: .*Own"),
    ],
)
def test_an_estimator_that_cannot_be_used_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fit: str, predict: str, rule: str
) -> None:
    if "self.all" in fit:  # what a machine with less memory would say
        monkeypatch.setattr("beacon_retraining.training.entry_point.model.memory_of_each", lambda _: 1.2e9)
    dataset = dataset_from(product_of(tmp_path))
    code = code_of(ESTIMATOR.format(fit=fit, predict=predict), 2.0 if "sleep" in fit else 60.0)
    with pytest.raises(EntryPointError, match=rf"training\.entry_point: pricing\.model:build: .*{rule}"):
        try_fit(recipe_of(code), dataset, 0, lambda fitted: export_model(dataset, fitted) and None)


@pytest.mark.parametrize(
    ("build", "rule"),
    [
        ("LinearRegression()", "could not convert string to float.*text must be encoded by the estimator"),
        (
            "make_pipeline(ColumnTransformer([('t', OneHotEncoder(), inputs.text)], remainder='passthrough'),"
            " LinearRegression())",
            "handle_unknown='ignore'",
        ),
    ],
)
def test_text_that_the_estimator_does_not_know_is_told_with_what_to_do(tmp_path: Path, build: str, rule: str) -> None:
    dataset = dataset_from(product_of(tmp_path))
    code = code_of(f"def build(inputs): return {build}")
    with pytest.raises(EntryPointError, match=rule):
        try_fit(recipe_of(code), dataset, 0, lambda fitted: export_model(dataset, fitted) and None)


def test_nothing_slow_begins_before_the_code_was_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    product = product_of(tmp_path)
    monkeypatch.setattr("beacon_retraining.training.train.compare", None)
    code = code_of(ESTIMATOR.format(fit="raise ValueError('early')", predict="0"))
    with pytest.raises(EntryPointError, match="ValueError: early"):
        train(dataset_from(product), product, TrainSettings(jobs=1), entry_point=code)
