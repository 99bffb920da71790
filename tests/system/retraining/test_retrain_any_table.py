"""Any table trains, packages and is evaluated: text, flags, dates, targets of any size, splits by time and groups."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest

from beacon_core.domain.product import Product, parse_product
from beacon_core.domain.value_rules import other_code
from beacon_core.feature_store.names import BASE_EVENT_TIME, EVENT_TIME
from beacon_core.model_package.manifest import CARD_FILE, Package
from beacon_core.model_package.model_inputs import FeatureMap, column_names, to_columns
from beacon_core.model_package.session import open_session
from beacon_core.platform.settings import Settings
from beacon_retraining.data.dataset import Dataset, dataset_of, product_rows
from beacon_retraining.evaluation.evaluate import evaluate
from beacon_retraining.packaging import export
from beacon_retraining.packaging.export import ParityError
from beacon_retraining.packaging.package import PackageOrigin, export_model, write_package
from beacon_retraining.training.families import FAMILIES
from beacon_retraining.training.fitting import FittedModel, fit
from beacon_retraining.training.imputation import impute
from beacon_retraining.training.recipes import recipe_for
from beacon_retraining.training.settings import TrainSettings
from beacon_retraining.training.target_scale import TransformError
from beacon_retraining.training.train import NoApplicableModelError, train

ROWS = 400
MADE = datetime(2025, 1, 1, tzinfo=UTC)
QUICK = TrainSettings(folds=3, repeats=1, coverage_folds=3, jobs=1, candidates=("ridge", "kernel-ridge"))
FEATURES = {
    "size": {"type": "float", "valid": [0, None]},
    "weight kg": {"type": "float"},
    "open": {"type": "bool"},
    "grade": {"type": "category", "levels": ["low", "mid", "high"], "ordered": True},
    "colour": {"type": "category", "levels": ["red", "green", "blue"], "unseen": "other"},
    "shop": {"type": "category", "levels": "many"},
    "made": {"type": "date", "parts": ["year", "month_cycle"]},
    "load": {"type": "float", "derived": {"ratio": ["weight kg", "size"]}},
}


def product_of(**keys: object) -> Product:
    raw = {"name": "shops", "source": {"file": "x.csv"}, "target": {"name": "sales"}, "features": FEATURES} | keys
    return parse_product(Path("product.yaml"), raw, lambda _: None)


def table(scale: float = 1.0, offset: float = 0.0) -> pd.DataFrame:
    """Rows whose target follows the size, the colour and the shop; some values are missing."""
    random = np.random.default_rng(0)
    size, shop = random.uniform(1, 9, ROWS), random.integers(0, 40, ROWS)
    colour = np.array(["red", "green", "blue", "violet"])[random.integers(0, 4, ROWS)]
    effect = pd.Series(colour).map({"red": 0.0, "green": 2.0, "blue": 4.0, "violet": -3.0}).to_numpy()
    return pd.DataFrame(
        {
            "size": np.where(random.random(ROWS) < 0.05, np.nan, size),
            "weight kg": random.normal(5, 1, ROWS),
            "open": pd.array(random.random(ROWS) < 0.5, dtype="boolean"),
            "grade": np.array(["low", "mid", "high"])[random.integers(0, 3, ROWS)],
            "colour": np.where(random.random(ROWS) < 0.05, None, colour),
            "shop": [f"shop {number}" for number in shop],
            "made": pd.Timestamp("2020-01-01") + pd.to_timedelta(random.integers(0, 1500, ROWS), unit="D"),
            "sales": (size + effect + shop / 10 + random.normal(0, 0.3, ROWS)) * scale + offset,
            EVENT_TIME: pd.Timestamp(BASE_EVENT_TIME) + pd.to_timedelta(np.arange(ROWS), unit="h"),
        }
    )


def packaged(product: Product, dataset: Dataset, folder: Path, version: str = "1") -> Package:
    trained = train(dataset, product, QUICK)
    return write_package(folder, product, dataset, trained, QUICK, PackageOrigin(version, "x.csv", "abc", MADE))


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_answers_alike_in_both_runtimes_also_for_what_it_has_not_seen(name: str) -> None:
    dataset = dataset_of(product_of(), table())
    model = fit(recipe_for(name, dataset), dataset, 0)
    content = export_model(dataset, model)  # checks parity, too
    unseen = dataset.features.copy()
    for at, feature in enumerate(dataset.schema.features):
        if feature.name in dataset.levels:
            unseen[:, at] = other_code(dataset.levels[feature.name])
    answers = export.run_all(open_session(content), model.columns(unseen, dataset.seconds))
    assert np.abs(answers - model.predict(unseen, dataset.seconds)).max() < 1e-5 * dataset.spread
    assert not np.allclose(answers, model.predict(dataset.features, dataset.seconds))


def test_a_request_gets_the_answer_that_training_computed(tmp_path: Path) -> None:
    """The road of a request: product.yaml's numbers, the package's levels, fill, derived columns, the graph."""
    product = product_of(excluded={"no": "identifier, by its name"})
    dataset = dataset_of(product, table())
    trained = train(dataset, product, QUICK)
    origin = PackageOrigin("1", "x.csv", "abc", MADE)
    package = write_package(tmp_path, product, dataset, trained, QUICK, origin)
    manifest = package.manifest
    levels = {facts.name: facts.levels for facts in manifest.features if facts.levels is not None}
    rows = FeatureMap(product.features, manifest.schema, levels)(product_rows(product, dataset), dataset.others)
    filled = impute(rows, np.array([facts.fill for facts in manifest.features]))
    columns = to_columns(filled, manifest.schema, dataset.seconds)
    assert columns.shape[1] == len(column_names(manifest.schema))
    answers = export.run_all(open_session(package.model), columns)
    assert trained.model is not None
    expected = FittedModel(trained.model, trained.fill, dataset.schema).predict(dataset.features, dataset.seconds)
    assert np.abs(answers - expected).max() < manifest.golden_tolerance
    card = (package.folder / CARD_FILE).read_text()
    assert "low, mid, high" in card
    assert "- excluded: **no**: identifier, by its name" in card
    assert "It predicts sales." in card, "without a title of its own it is named once"
    assert "**load** is weight kg / size" in card
    assert "28 more" in card  # of 40 shops


@pytest.mark.parametrize(("scale", "offset"), [(1e-6, 0.0), (1e9, 0.0), (1.0, 1e6), (-3.0, 0.0), (1e-6, -1e-3)])
def test_targets_of_any_size_and_sign_pass(scale: float, offset: float, tmp_path: Path) -> None:
    product = product_of()
    dataset = dataset_of(product, table(scale, offset))
    package = packaged(product, dataset, tmp_path)
    assert package.manifest.golden_tolerance == pytest.approx(1e-5 * dataset.spread)
    verdict = evaluate(Settings(), product, dataset, package, None, QUICK)
    assert verdict.outcome == "pass", verdict.reason
    r2 = next(check for check in verdict.checks if check.name == "r2")
    plain = dataset_of(product, table())
    reference = packaged(product, plain, tmp_path, "2")
    scores = {score.name: score.value for score in reference.manifest.scores}
    assert r2.number == pytest.approx(scores["r2"], abs=0.05)


def test_rows_are_held_out_by_time_and_by_group(tmp_path: Path) -> None:
    by_time = product_of(time={"event": "at", "split": "time"})
    dataset = dataset_of(by_time, table())
    trained = train(dataset, by_time, QUICK)
    assert trained.result.rows.min() == ROWS // 4  # the first block is never held out
    package = write_package(tmp_path, by_time, dataset, trained, QUICK, PackageOrigin("1", "x", "abc", MADE))
    verdict = evaluate(Settings(), by_time, dataset, package, None, QUICK, trained.assessment.held_out)
    assert (verdict.rows, verdict.how[:18]) == (300, "3 blocks by time, ")
    by_shop = product_of(time={"split": "group", "group": "shop"})
    shops = dataset_of(by_shop, table())
    assert (
        train(shops, by_shop, QUICK).result.rmse
        > train(dataset_of(product_of(), table()), product_of(), QUICK).result.rmse
    )


def test_weights_decide_what_counts() -> None:
    """Closed rows follow the opposite rule; weights leave them out of the fit, and of the figures."""
    rows = table()
    rows["sales"] = rows["sales"].where(rows["open"].astype(bool), -rows["sales"])
    features = {name: spec for name, spec in FEATURES.items() if name != "open"}
    weighted = product_of(features=features, target={"name": "sales", "weight": "w"})
    plain = product_of(features=features)
    even = train(dataset_of(weighted, rows.assign(w=7.0)), weighted, QUICK)
    assert even.result.rmse == pytest.approx(train(dataset_of(plain, rows), plain, QUICK).result.rmse)
    heavy = train(dataset_of(weighted, rows.assign(w=np.where(rows["open"], 100.0, 0.01))), weighted, QUICK)
    assert heavy.result.rmse < 0.5 * even.result.rmse
    assert heavy.interval.widths.high < 0.5 * even.interval.widths.high


def test_a_model_that_cannot_be_exported_gives_way_to_the_next_best() -> None:
    dataset = dataset_of(product_of(), table())
    best = train(dataset, product_of(), QUICK).algorithm
    refused: list[str] = []

    def check(_model: FittedModel) -> None:
        if not refused:
            refused.append("once")
            raise ParityError("row 1: ONNX differs")

    trained = train(dataset, product_of(), QUICK, check)
    assert trained.algorithm != best
    assert trained.rejected == {best: "row 1: ONNX differs"}

    def never(_model: FittedModel) -> None:
        raise ParityError("row 1: ONNX differs")

    with pytest.raises(NoApplicableModelError, match=r"no model can be used: .*row 1: ONNX differs"):
        train(dataset, product_of(), QUICK, never)


def test_a_changed_schema_is_compared_unless_it_breaks(tmp_path: Path) -> None:
    """A new derived column and a wider list of levels follow; another unit of the target breaks."""
    old = product_of(features={name: spec for name, spec in FEATURES.items() if name not in {"load", "open"}})
    rows = table()
    champion = packaged(old, dataset_of(old, rows), tmp_path, "1")
    new = product_of()
    dataset = dataset_of(new, rows)
    challenger = packaged(new, dataset, tmp_path, "2")
    verdict = evaluate(Settings(), new, dataset, challenger, champion, QUICK)
    checks = {check.name: check for check in verdict.checks}
    assert "schema" not in checks
    assert 0.8 < checks["mae"].number < 1.2
    late = dataset_of(new, rows.assign(**{EVENT_TIME: rows[EVENT_TIME] + pd.Timedelta(days=600)}))
    later = packaged(new, late, tmp_path, "3")
    backtest = evaluate(Settings(), new, late, later, champion, QUICK)
    assert (backtest.method, backtest.rows) == ("backtest", 320)
    target = msgspec.structs.replace(champion.manifest.schema.target, unit="EUR")
    schema = msgspec.structs.replace(champion.manifest.schema, target=target)
    broken = msgspec.structs.replace(champion, manifest=msgspec.structs.replace(champion.manifest, schema=schema))
    verdict = evaluate(Settings(), new, dataset, challenger, broken, QUICK)
    assert verdict.outcome == "inconclusive"
    assert verdict.reason == "breaking schema change: target.unit was EUR, is "


def test_a_logarithm_of_a_negative_target_is_refused() -> None:
    product = product_of(target={"name": "sales", "transform": "log"})
    with pytest.raises(TransformError, match=r"target.transform: log needs values above 0, sales is -"):
        train(dataset_of(product, table()), product, QUICK)
