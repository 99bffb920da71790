"""Kept converters with what makes them exact: rows on a grid lie on thresholds, where rounding shows."""

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import onnx
import pandas as pd
import pytest
import xgboost
from catboost import CatBoostRegressor
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from beacon_core.model_package.session import open_session
from beacon_retraining.data.dataset import Matrix
from beacon_retraining.errors import ForeignModelError
from beacon_retraining.packaging.conversion import convert, convert_sklearn
from beacon_retraining.packaging.conversion.binding import bind
from beacon_retraining.packaging.conversion.convert import of_object
from beacon_retraining.packaging.conversion.converted import Converted
from beacon_retraining.packaging.conversion.parity import check_parity
from beacon_retraining.packaging.conversion.wrap import wrap
from beacon_retraining.packaging.export import run_all
from beacon_retraining.training.columns import ModelColumn, notebook_table

ROWS = 800
COLUMNS = (
    ModelColumn("floor area"),
    ModelColumn("age"),
    ModelColumn("colour", "text", ("red", "green", "blue")),
    ModelColumn("new", "flag"),
)
NUMBERS = ["floor area", "age"]


def rows() -> tuple[Matrix, pd.DataFrame, Matrix]:
    """Numbers as a package's graph gets them, the same as a notebook has them, and the target."""
    random = np.random.default_rng(0)
    columns = [random.uniform(1, 9, ROWS).round(2), random.integers(0, 90, ROWS) / 10]
    columns += [random.integers(0, 3, ROWS), random.integers(0, 2, ROWS)]
    numbers = np.column_stack(columns).astype(np.float32).astype(np.float64)
    target = 1e4 * (numbers @ np.array([3.0, 1, 4, 2]) + random.normal(0, 0.3, ROWS))
    return numbers, notebook_table(COLUMNS, numbers), target


def parity(converted: Converted, numbers: Matrix) -> float:
    """The largest difference of the wrapped graph from the original, as a share of the answers' spread."""
    return float(np.abs(answered(converted, numbers) - converted.answers).max() / converted.answers.std())


def answered(converted: Converted, numbers: Matrix) -> Matrix:
    """What the wrapped graph answers."""
    model = onnx.load_model_from_string(converted.content)
    facts = converted.facts
    binding = bind(model, COLUMNS, facts.names, {name: dict(pairs) for name, pairs in facts.recodings.items()})
    return run_all(open_session(wrap(model, binding, COLUMNS)), numbers)


def by_name(model: Any, *, scaled: bool = True) -> Any:
    numbers = make_pipeline(SimpleImputer(), StandardScaler()) if scaled else SimpleImputer()
    text = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_pipeline(ColumnTransformer([("t", text, ["colour", "new"]), ("n", numbers, NUMBERS)]), model)


@pytest.mark.parametrize(
    "model",
    [
        by_name(RandomForestRegressor(20, random_state=0)),
        by_name(HistGradientBoostingRegressor(max_iter=20), scaled=False),
        by_name(lightgbm.LGBMRegressor(n_estimators=20, verbose=-1, n_jobs=1), scaled=False),
        TransformedTargetRegressor(by_name(LinearRegression()), func=np.log1p, inverse_func=np.expm1),
    ],
    ids=["forest", "hist", "lightgbm", "log target"],
)
def test_a_pipeline_is_converted_to_the_last_row(model: Any) -> None:
    numbers, table, target = rows()
    half = slice(ROWS // 2)  # the other half lies on thresholds between rows of this one
    assert parity(of_object(model.fit(table[half], target[half]), COLUMNS, numbers), numbers) < 1e-5


def test_boosting_behind_a_scaler_is_refused_where_a_row_lies_on_a_threshold() -> None:
    numbers, table, target = rows()
    half = slice(ROWS // 2)
    model = by_name(HistGradientBoostingRegressor(max_iter=20)).fit(table[half], target[half])
    converted = of_object(model, COLUMNS, numbers)
    with pytest.raises(ForeignModelError, match=r"of 800 rows are over it.* leave out the scaler"):
        check_parity(answered(converted, numbers), converted.answers, float(target.std()))


def test_the_roundings_are_what_makes_it_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers, table, target = rows()
    half = slice(ROWS // 2)
    forest = by_name(RandomForestRegressor(20, random_state=0)).fit(table[half], target[half])
    boosted = lightgbm.LGBMRegressor(n_estimators=50, verbose=-1, n_jobs=1).fit(table[NUMBERS][half], target[half])
    assert parity(of_object(boosted, COLUMNS, numbers), numbers) < 1e-5
    monkeypatch.setattr(convert_sklearn, "_rounding", lambda _: None)
    monkeypatch.setattr(convert, "rounded_down", lambda booster: booster)
    assert parity(of_object(forest, COLUMNS, numbers), numbers) > 1e-3
    assert parity(of_object(boosted, COLUMNS, numbers), numbers) > 1e-3


def test_thresholds_between_neighbours_of_float32_are_rounded_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """HistGradientBoosting splits in the middle: the nearest float32 is often the upper neighbour itself."""
    numbers, _, _ = rows()
    steps = np.arange(ROWS) % 9
    numbers[:, 0] = 1 + steps * float(np.spacing(np.float32(1)))
    target = 1e4 * steps + numbers[:, 1]
    model = by_name(HistGradientBoostingRegressor(max_iter=20), scaled=False)
    model.fit(notebook_table(COLUMNS, numbers), target)
    assert parity(of_object(model, COLUMNS, numbers), numbers) < 1e-5
    monkeypatch.setattr(convert_sklearn, "_with_float_thresholds", lambda model: model)
    assert parity(of_object(model, COLUMNS, numbers), numbers) > 0.1


def test_pandas_categories_of_lightgbm_keep_their_own_numbers() -> None:
    numbers, table, target = rows()
    coded = table.assign(colour=table["colour"].astype(pd.CategoricalDtype(["blue", "red", "green"])))
    model = lightgbm.LGBMRegressor(n_estimators=20, verbose=-1, n_jobs=1).fit(coded, target)
    converted = of_object(model, COLUMNS, numbers)
    assert converted.facts.recodings == {"colour": [(0.0, 1.0), (1.0, 2.0), (2.0, 0.0)]}
    np.testing.assert_allclose(converted.answers, model.predict(coded))
    assert parity(converted, numbers) < 1e-5


def test_native_formats_are_read(tmp_path: Path) -> None:
    numbers, table, target = rows()
    xgboost.XGBRegressor(n_estimators=10, n_jobs=1).fit(table[NUMBERS], target).save_model(tmp_path / "m.json")
    boosted = CatBoostRegressor(iterations=10, verbose=False, allow_writing_files=False, thread_count=1)
    boosted.fit(table[NUMBERS], target).save_model(str(tmp_path / "m.cbm"))
    for kind, file in (("xgboost", "m.json"), ("catboost", "m.cbm")):
        assert parity(convert.convert(kind, tmp_path / file, COLUMNS, numbers), numbers) < 1e-4
    (tmp_path / "m.cbm").write_bytes((tmp_path / "m.cbm").read_bytes()[:200])
    with pytest.raises(ForeignModelError, match="cannot be read and converted as a model of catboost"):
        convert.convert("catboost", tmp_path / "m.cbm", COLUMNS, numbers)


def refused() -> list[tuple[Any, str]]:
    _, table, target = rows()
    text = CatBoostRegressor(iterations=2, verbose=False, allow_writing_files=False, cat_features=["colour"])
    categories = table.assign(colour=table["colour"].astype("category"))
    high = target > np.median(target)
    odd = TransformedTargetRegressor(LinearRegression(), func=np.cbrt, inverse_func=np.square, check_inverse=False)
    return [
        (text.fit(table[[*NUMBERS, "colour"]], target), r"cat_features \(colour\)"),
        (xgboost.XGBRegressor(n_estimators=2, enable_categorical=True).fit(categories, target), "enable_categorical"),
        (lightgbm.LGBMClassifier(n_estimators=2, verbose=-1).fit(table[NUMBERS], high), "is a classifier"),
        (by_name(LogisticRegression()).fit(table, high), r"is a classifier \(LogisticRegression\)"),
        (odd.fit(table[NUMBERS], target), "inverse_func is none of exp, expm1"),
        (LinearRegression().fit(table[NUMBERS].to_numpy(), target), "takes 2 columns; the product has 4"),
        (LinearRegression().fit(table[NUMBERS].rename(columns={"age": "years"}), target), "takes 'years'"),
        (by_name(LinearRegression()).fit(table, np.column_stack([target, target])), "gives 2 outputs"),
        (StandardScaler().fit(table[NUMBERS]), "holds a StandardScaler, which has no method predict"),
    ]


def test_what_no_converter_can_write_is_refused() -> None:
    numbers = rows()[0]
    for model, told in refused():
        with pytest.raises(ForeignModelError, match=told):
            of_object(model, COLUMNS, numbers)
