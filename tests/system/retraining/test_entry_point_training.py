"""A product's own training code becomes a package that predicts what its estimator predicts, with a verdict."""

import importlib.util
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import dedent

import numpy as np
import pandas as pd
import pytest
from sklearn.base import RegressorMixin
from support.products import write_spec
from support.settings import Settings

from beacon_core.domain.product import Product
from beacon_core.model_package.manifest import MANIFEST_FILE, Package, PackageError, digest, read_package
from beacon_core.model_package.recipe import EntryPoint
from beacon_core.model_package.session import open_session
from beacon_retraining.data.dataset import Dataset, dataset_of
from beacon_retraining.evaluation.evaluate import evaluate
from beacon_retraining.evaluation.known_rows import known_rows
from beacon_retraining.evaluation.measurements import run_package
from beacon_retraining.packaging.package import PackageOrigin, write_package
from beacon_retraining.training.columns import columns_of, notebook_table
from beacon_retraining.training.entry_point.code import entry_point_of
from beacon_retraining.training.entry_point.model import inputs_of
from beacon_retraining.training.imputation import model_columns
from beacon_retraining.training.settings import TrainSettings
from beacon_retraining.training.train import TrainedModel, train

ROWS = 400
MADE = datetime(2026, 1, 1, tzinfo=UTC)
SETTINGS = Settings()
QUICK = TrainSettings(folds=3, repeats=1, coverage_folds=3, jobs=2)
FEATURES: dict[str, dict[str, object]] = {
    "length": {"type": "float", "nullable": True},
    "pieces": {"type": "int"},
    "used": {"type": "bool"},
    "kind": {"type": "category", "levels": ["round", "square", "long"], "unseen": "other"},
    "shop": {"type": "category", "levels": "many"},
    "load": {"type": "float", "derived": {"ratio": ["length", "pieces"]}},
}
FIRST = """
    import numpy as np
    from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler
    from pricing.{module} import regressor

    def build(inputs):
        columns = ColumnTransformer(
            [("text", OneHotEncoder(handle_unknown="ignore", sparse_output=False), inputs.text),
             ("numbers", {numbers}, inputs.numbers)],
            remainder="passthrough",
        )
        model = make_pipeline(columns, regressor(inputs.seed))
        return {model}
"""
REGRESSORS = {
    "ridge": "from sklearn.linear_model import Ridge\ndef regressor(seed): return Ridge()\n",
    "stiff": "from sklearn.linear_model import Ridge\ndef regressor(seed): return Ridge(9)\n",
    "boosting": (
        "from sklearn.ensemble import GradientBoostingRegressor\n"
        "def regressor(seed): return GradientBoostingRegressor(n_estimators=40, subsample=0.7, random_state=seed)\n"
    ),
    "binned": (
        "from sklearn.ensemble import HistGradientBoostingRegressor\n"
        "def regressor(seed): return HistGradientBoostingRegressor(max_iter=40, random_state=seed)\n"
    ),
}


def product_of(
    folder: Path, regressor: str, *, log: bool = False, features: dict[str, dict[str, object]] = FEATURES
) -> Product:
    code = folder / "training" / "pricing"
    code.mkdir(parents=True)
    (code / "__init__.py").write_text("")
    (code / f"{regressor}.py").write_text(REGRESSORS[regressor])
    model = "TransformedTargetRegressor(model, func=np.log, inverse_func=np.exp)" if log else "model"
    numbers = "StandardScaler()" if regressor in {"ridge", "stiff"} else "'passthrough'"
    (code / "model.py").write_text(dedent(FIRST).format(module=regressor, numbers=numbers, model=model))
    target = {"name": "price"} | ({"weight": "importance"} if log else {})
    return write_spec(folder, features, training={"entry_point": "pricing.model:build"}, target=target)


def dataset_from(product: Product, seed: int = 1, late: int = 0) -> Dataset:
    return dataset_of(product, rows_from(seed, late))


def rows_from(seed: int = 1, late: int = 0) -> pd.DataFrame:
    """Rows of which the first `late` came one after the other from the day on that the packages are made."""
    random = np.random.default_rng(seed)
    kinds, shops = random.choice(["round", "square", "long"], ROWS), random.integers(0, 15, ROWS)
    length, pieces = random.uniform(1, 9, ROWS), random.integers(1, 6, ROWS)
    price = 1e5 * np.exp(0.2 * length + 0.1 * pieces + 0.4 * (kinds == "long") + 0.02 * shops)
    table = {
        "length": np.where(random.random(ROWS) < 0.1, np.nan, length),
        "pieces": pieces,
        "used": random.random(ROWS) < 0.5,
        "kind": kinds,
        "shop": [f"shop {number}" for number in shops],
        "price": price * random.uniform(0.95, 1.05, ROWS),
        "event_timestamp": [
            MADE + timedelta(days=1 + number) if number < late else pd.Timestamp("2024-01-01", tz="UTC")
            for number in range(ROWS)
        ],
    }
    return pd.DataFrame(table | {"importance": random.uniform(1, 2, ROWS)})


def trained_package(folder: Path, product: Product, dataset: Dataset, version: str) -> tuple[TrainedModel, Package]:
    trained = train(dataset, product, QUICK, entry_point=entry_point_of(product))
    return trained, write_package(
        folder, product, dataset, trained, QUICK, PackageOrigin(version, "x.csv", "abc", MADE)
    )


def by_hand(product: Product, dataset: Dataset, numbers: np.ndarray, *, log: bool) -> np.ndarray:
    """What the same code predicts in a notebook: imported, fitted and asked without any of Beacon's processes."""
    sys.path.insert(0, str(product.file.parent / "training"))
    try:
        spec = importlib.util.spec_from_file_location("by_hand", product.file.parent / "training/pricing/model.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
        for name in [name for name in sys.modules if name.partition(".")[0] == "pricing"]:
            del sys.modules[name]
    columns = columns_of(dataset.schema, dataset.levels)
    model: RegressorMixin = module.build(inputs_of(columns, "price", QUICK.seed))
    table = notebook_table(columns, numbers)
    weights = {f"{model.regressor.steps[-1][0]}__sample_weight": dataset.weights} if log else {}
    return model.fit(table, dataset.target, **weights).predict(table)


@pytest.mark.parametrize(("regressor", "log"), [("ridge", True), ("boosting", False), ("binned", False)])
def test_the_package_predicts_what_the_estimator_predicts(tmp_path: Path, regressor: str, log: bool) -> None:
    product = product_of(tmp_path / "product", regressor, log=log)
    dataset = dataset_from(product)
    trained, package = trained_package(tmp_path / "models", product, dataset, "1")
    manifest = package.manifest
    assert manifest.algorithm == "entry point pricing.model:build"
    assert set(manifest.libraries) >= {"scikit-learn", "skl2onnx"}
    assert manifest.recipe is not None
    code = entry_point_of(product)
    assert code is not None
    assert manifest.recipe.entry_point == EntryPoint(code.function, code.sha256)

    answers, spreads = run_package(package, open_session(package.model), dataset.features, dataset.seconds)
    numbers = model_columns(dataset.features, trained.fill, dataset.schema, dataset.seconds)
    wanted = by_hand(product, dataset, numbers, log=log)
    assert np.abs(answers - wanted).max() < 1e-4 * dataset.spread
    assert np.corrcoef(answers, dataset.target)[0, 1] > 0.9
    assert (spreads > 0).all()
    assert 0.8 < manifest.interval.measured_coverage <= 1

    again, _ = trained_package(tmp_path / "again", product, dataset, "1")
    assert np.array_equal(again.result.held_out, trained.result.held_out)
    card = (package.folder / "MODEL_CARD.md").read_text()
    assert "The estimator is that of `pricing.model:build` (`training.entry_point`)" in card


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Package:
    folder = tmp_path_factory.mktemp("champion")
    product = product_of(folder / "product", "ridge")
    return trained_package(folder / "models", product, dataset_from(product), "1")[1]


@pytest.mark.parametrize("case", ["no new rows", "newer rows", "rows that it was not trained on"])
def test_a_champion_of_other_code_is_compared_as_it_is_on_rows_that_are_new_to_it(
    tmp_path: Path, champion: Package, case: str
) -> None:
    new = product_of(tmp_path / "new", "stiff")
    rows = rows_from(late=ROWS if case == "newer rows" else 0)
    if case == "rows that it was not trained on":
        rows = pd.concat([rows, rows_from(seed=2)], ignore_index=True)
    dataset = dataset_of(new, rows)
    trained, challenger = trained_package(tmp_path / "models", new, dataset, "2")
    verdict = evaluate(
        SETTINGS,
        new,
        dataset,
        challenger,
        champion,
        QUICK,
        trained.assessment.held_out,
        code=entry_point_of(new),
        known=lambda: known_rows(new, dataset, rows_from()),
    )
    checks = {check.name: check for check in verdict.checks}
    assert checks["parity"].outcome == "pass"
    if case == "no new rows":
        assert checks["comparable"].title == (
            "a comparison with version 1: its model 'entry point pricing.model:build' was trained by code that the "
            "product no longer has (training.entry_point), and is not fitted anew, and too few rows are new to it"
        )
        assert verdict.outcome == "inconclusive"
        assert checks["comparable"].title in verdict.reason
        assert "mae" not in checks
        # A challenger of other code than the run's is no challenger.
        with pytest.raises(ValueError, match="trained by other training code than the product has"):
            evaluate(SETTINGS, new, dataset, challenger, champion, QUICK)
        return
    assert "comparable" not in checks
    assert checks["mae"].number > 0
    assert "the champion predicts as it is" in verdict.how
    if case == "newer rows":
        assert verdict.method == "backtest"
        assert verdict.how.startswith("320 rows that came after the champion was made")
    else:
        assert (verdict.method, verdict.rows) == ("cross-validation", ROWS)
        assert verdict.how.startswith(f"{ROWS} held-out rows that version 1 was not trained on, in 3 folds")


def test_a_champion_of_the_same_code_is_fitted_anew(tmp_path: Path) -> None:
    few = {name: spec for name, spec in FEATURES.items() if name != "load"}
    old = product_of(tmp_path / "old", "ridge", features=few)
    _, champion = trained_package(tmp_path / "models", old, dataset_from(old), "1")
    new = product_of(tmp_path / "new", "ridge")
    dataset = dataset_from(new)
    trained, challenger = trained_package(tmp_path / "models", new, dataset, "2")
    verdict = evaluate(
        SETTINGS, new, dataset, challenger, champion, QUICK, trained.assessment.held_out, code=entry_point_of(new)
    )
    checks = {check.name: check for check in verdict.checks}
    assert verdict.method == "cross-validation"
    assert "comparable" not in checks
    assert 0.8 < checks["mae"].number < 1.2


def test_a_package_holds_no_code_and_one_with_code_is_refused(tmp_path: Path) -> None:
    product = product_of(tmp_path / "product", "ridge")
    _, package = trained_package(tmp_path / "models", product, dataset_from(product), "1")
    for file in package.folder.iterdir():
        assert b"def build" not in file.read_bytes()
    file = package.folder / MANIFEST_FILE
    manifest = json.loads(file.read_bytes())
    manifest["recipe"]["entry_point"]["files"] = {"pricing/model.py": "import os"}
    file.write_text(json.dumps(manifest))
    with pytest.raises(PackageError, match="unknown field `files`"):
        read_package(package.folder, digest(file.read_bytes()))
