"""The effects on a model's card: figures of functions whose effects are known, and a picture that anybody can read."""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingRegressor
from support.packages import build_package

from beacon_core.domain.feature import Feature, FeatureEntry, make_feature
from beacon_core.domain.product import Product
from beacon_core.domain.product_entry import Target
from beacon_core.domain.schema import Schema
from beacon_core.model_package.explanation.explainer import Explainer
from beacon_core.model_package.manifest import (
    EFFECTS_FILE,
    FeatureFacts,
    GoldenRequest,
    Manifest,
    Package,
    read_package,
)
from beacon_core.model_package.release import package_folder
from beacon_core.model_package.session import open_session
from beacon_retraining.evaluation.report import page
from beacon_retraining.packaging import export
from beacon_retraining.packaging.card import EFFECTS_TEXT
from beacon_retraining.packaging.effects import Effects, find_effects
from beacon_retraining.packaging.effects_plot import effects_plot
from beacon_retraining.packaging.explanation import make_explanation
from beacon_retraining.training.estimators import TableModel

ROWS = 300
LEVELS = ("sunny & warm", "<rain>", "a text level that is far too long for any plot $1$", "snow")
FEATURES: tuple[Feature, ...] = (
    make_feature("a", FeatureEntry(unit="m²")),
    make_feature("b", FeatureEntry()),
    make_feature("sky", FeatureEntry(type="category")),
    make_feature("still", FeatureEntry()),
)
Function = Callable[[np.ndarray], np.ndarray]


def rows() -> np.ndarray:
    random = np.random.default_rng(0)
    found = random.normal(size=(ROWS, 4)).astype(np.float32).astype(np.float64)
    found[:, 2] = random.integers(0, 4, ROWS)
    found[:, 3] = 7.0
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, product: Product) -> Callable[..., tuple[Package, Effects]]:
    """A function that fits trees to a function of the rows, and gives the package with its effects."""
    models = tmp_path_factory.mktemp("models")
    own = read_package(package_folder(models, pin := build_package(models, product)), pin.sha256).manifest

    def make(function: Function, *, log: bool = False) -> tuple[Package, Effects]:
        schema = Schema(version=1, target=Target(name="y", unit="USD"), entity=None, features=FEATURES)
        given = rows()
        boosting = GradientBoostingRegressor(n_estimators=60, max_depth=4, random_state=0)
        model = export.to_onnx(
            TableModel(boosting, scale="log" if log else "none").fit(given, function(given)), len(FEATURES)
        )
        session = open_session(model)
        explanation = make_explanation(model, schema, given, export.run(session, given))
        package = Package(Path(), manifest_of(own, schema), model, "", explanation=explanation)
        effects = find_effects(
            Explainer(package), FEATURES, given, given, np.zeros(ROWS), lambda some, _: export.run_all(session, some)
        )
        return package, effects

    return make


def manifest_of(own: Manifest, schema: Schema) -> Manifest:
    quantiles = (0.0,) * 7
    facts = tuple(
        FeatureFacts(feature.name, 0.0, 0.0, 1.0, quantiles, 0.0, LEVELS if feature.name == "sky" else None)
        for feature in FEATURES
    )
    golden = tuple(GoldenRequest(tuple(row), 0.0) for row in rows()[:8].tolist())
    return msgspec.structs.replace(own, schema=schema, features=facts, golden=golden)


def test_a_sum_has_no_interaction_and_a_product_has(made: Callable[..., tuple[Package, Effects]]) -> None:
    _, added = made(lambda x: 10 + 3 * x[:, 0] + x[:, 1])
    _, multiplied = made(lambda x: 10 + 3 * x[:, 0] * x[:, 1] + 0.1 * x[:, 2])
    assert added.is_exact
    assert list(added.contributions) == ["a", "b", "sky", "still"]
    assert added.contributions["still"] == 0
    assert added.interaction is None or added.interaction.share < 0.1
    assert multiplied.interaction is not None
    assert {multiplied.interaction.first, multiplied.interaction.second} == {0, 1}
    assert multiplied.interaction.share > 0.6


def test_a_curve_follows_the_function(made: Callable[..., tuple[Package, Effects]]) -> None:
    _, effects = made(lambda x: 10 + 3 * x[:, 0] + x[:, 2])
    curves = {FEATURES[curve.feature].name: curve for curve in effects.curves}
    assert "still" not in curves
    a, sky = curves["a"], curves["sky"]
    middle = np.abs(a.values) < 1.5
    np.testing.assert_allclose(np.polyfit(a.values[middle], a.predictions[middle], 1)[0], 3, rtol=0.15)
    assert sky.values.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(np.diff(sky.predictions), 1, atol=0.4)
    np.testing.assert_allclose(sky.shares, np.bincount(rows()[:, 2].astype(int)) / ROWS)
    assert a.shares.sum() > 0.95


@pytest.mark.parametrize("log", [False, True])
def test_contributions_are_in_the_targets_unit(made: Callable[..., tuple[Package, Effects]], log: bool) -> None:
    """They add up to the prediction less the base, also of a logarithm, and sampled of a package of earlier days."""
    package, _ = made(lambda x: np.exp(3 + x[:, 0] + 0.3 * x[:, 2]), log=log)
    explainer = Explainer(package)
    assert explainer.is_log == log
    sampled = Explainer(msgspec.structs.replace(package, explanation=None))
    for row in rows()[:20]:
        found = explainer.explain(row, 0.0)
        assert found.method == "exact"
        assert found.base + sum(found.contributions) == pytest.approx(found.prediction, rel=1e-12)
        assert found.base > 0
        assert (found.contributions[0] > 0) == (row[0] > 0) or abs(row[0]) < 0.4
        near = sampled.explain(row, 0.0)
        assert near.method == "sampled"
        assert near.base + sum(near.contributions) == pytest.approx(found.prediction, rel=1e-9)
        assert near.contributions[3] == pytest.approx(0, abs=1e-9)


def test_the_picture_is_an_svg_of_the_same_bytes(made: Callable[..., tuple[Package, Effects]]) -> None:
    package, effects = made(lambda x: 10 + 3 * x[:, 0] * x[:, 1] + 0.1 * x[:, 2])
    drawn = effects_plot(effects, package.manifest)
    assert drawn == effects_plot(effects, package.manifest)
    assert ElementTree.fromstring(drawn[drawn.index("<svg") :]).tag.endswith("svg")
    # matplotlib tells the texts that it draws in comments.
    texts = " ".join(re.findall(r"<!-- (.*?) -->", drawn))
    assert "Mean size of contributions (USD)" in texts
    assert "Mean prediction by a (m²)" in texts
    assert "a text level th..." in texts


def test_a_feature_alone_has_no_pair(product: Product, tmp_path: Path) -> None:
    effects = Effects({"a": 1.0}, is_exact=True, rows=3, curves=(), interaction=None)
    pin = build_package(tmp_path, product)
    assert "<svg" in effects_plot(effects, read_package(package_folder(tmp_path, pin), pin.sha256).manifest)


def test_the_report_has_the_picture_in_it() -> None:
    card = f"# Card\n\n![{EFFECTS_TEXT}]({EFFECTS_FILE})\n\n## More\n"
    shown = page("t", "v", "<svg>1</svg>", card, '<?xml version="1.0"?><svg>2 \\1 </svg>')
    assert "<figure><svg>2 \\1 </svg></figure>" in shown
    assert "<img" not in shown
    assert "<img" in page("t", "v", "<svg></svg>", card)  # a package that was made before there were pictures
