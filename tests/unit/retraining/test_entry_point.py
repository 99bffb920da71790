"""training.entry_point in product.yaml, and the code beside it, before any of it runs."""

from pathlib import Path

import msgspec
import pytest
from support.products import write_spec

from beacon_core.domain.product import Product
from beacon_core.domain.spec import ProductError
from beacon_core.model_package.recipe import EntryPoint, Member, Recipe
from beacon_core.platform.training_code import MOST_BYTES, TrainingCodeError
from beacon_retraining.training.entry_point.code import (
    digest_of,
    entry_point_of,
    training_code,
    with_code,
    without_code,
)
from beacon_retraining.training.entry_point.errors import EntryPointError
from beacon_retraining.training.libraries import imported_modules, versions_of
from beacon_retraining.training.recipes import name_of, recipe_of
from beacon_retraining.training.search import plan_of
from beacon_retraining.training.settings import TrainSettings

FEATURES = {"length": {"type": "float"}, "kind": {"type": "category", "levels": ["a", "b"]}}
NAME = "pricing.model:build"


def product_of(folder: Path, *, target: dict[str, object] | None = None, **training: object) -> Product:
    target = {"name": "outcome"} | (target or {})
    return write_spec(folder, FEATURES, training={"entry_point": NAME} | training, target=target)


@pytest.mark.parametrize(
    ("key", "training", "rule"),
    [
        ("training.entry_point", {"entry_point": "pricing.model"}, "must be package.module:function"),
        ("training.entry_point", {"entry_point": "pricing/model.py:build"}, "must be package.module:function"),
        ("training.entry_point", {"entry_point": "os:system\n"}, "must be package.module:function"),
        ("training.models", {"models": ["ridge"]}, "its estimator is the only one"),
        ("training.budget_seconds", {"budget_seconds": 60}, "nothing is tuned"),
        ("training.trials", {"trials": 5}, "nothing is tuned"),
        ("training.metric", {"metric": "mae"}, "the estimator's own loss decides"),
        ("training.monotone", {"monotone": {"length": "up"}}, "monotonic_cst"),
        ("training.fit_seconds", {"fit_seconds": 0}, "must be above 0"),
        ("training.fit_seconds", {"entry_point": None, "fit_seconds": 60}, "only there"),
    ],
)
def test_what_makes_no_sense_with_an_entry_point_is_refused(
    tmp_path: Path, key: str, training: dict[str, object], rule: str
) -> None:
    with pytest.raises(ProductError) as caught:
        product_of(tmp_path, **training)
    assert f"{key}: " in str(caught.value)
    assert rule in str(caught.value)


def test_the_target_and_the_columns_are_the_estimators_own_to_transform(tmp_path: Path) -> None:
    with pytest.raises(ProductError, match=r"target\.transform: .*TransformedTargetRegressor"):
        product_of(tmp_path, target={"transform": "log"})
    encoded = FEATURES | {"kind": FEATURES["kind"] | {"encode": "onehot"}}
    with pytest.raises(ProductError, match=r"features\.kind\.encode: .*estimator encodes"):
        write_spec(tmp_path, encoded, training={"entry_point": NAME})


def test_the_code_is_the_folder_beside_the_product(tmp_path: Path) -> None:
    product = product_of(tmp_path, fit_seconds=60)
    with pytest.raises(TrainingCodeError, match=r"training\.entry_point: its code must lie in the folder training"):
        entry_point_of(product)
    package = tmp_path / "training" / "pricing"
    (package / "__pycache__").mkdir(parents=True)
    (package / "model.py").write_text("import sklearn.linear_model\n")
    (package / "__pycache__" / "model.cpython-311.pyc").write_bytes(b"\xff")
    (package / ".hidden").write_bytes(b"\xff")
    found = entry_point_of(product)
    assert found == training_code(NAME, {"pricing/model.py": "import sklearn.linear_model\n"}, 60)

    (package / "table.bin").write_bytes(b"\xff\xfe")
    with pytest.raises(TrainingCodeError, match=r"training/pricing/table\.bin must be a text in UTF-8"):
        entry_point_of(product)
    (package / "table.bin").write_text(" " * MOST_BYTES)
    with pytest.raises(TrainingCodeError, match="at most 200 files and 500 KB"):
        entry_point_of(product)


def test_a_product_without_an_entry_point_has_no_code(tmp_path: Path) -> None:
    assert entry_point_of(write_spec(tmp_path, FEATURES)) is None


def test_the_digest_follows_the_code_and_what_it_imports() -> None:
    code = training_code(NAME, {"pricing/model.py": "def build(inputs):\n    from msgspec.json import encode\n"}, 300)
    other = training_code(NAME, {"pricing/model.py": "import msgspec\n"}, 300)
    assert digest_of(code) != digest_of(other)
    assert imported_modules(code.files) == {"msgspec"}
    assert "msgspec" in versions_of(code.files)
    assert "msgspec" not in versions_of()
    assert imported_modules({"broken.py": "def ("}) == set()


def test_a_recipe_names_the_code_and_only_the_same_code_is_fitted_by_it() -> None:
    files = {"pricing/model.py": "text"}
    code = training_code(NAME, files, 300)
    packaged = without_code(recipe_of(code))
    assert packaged == Recipe((), entry_point=EntryPoint(NAME, code.sha256))
    assert b"text" not in msgspec.json.encode(packaged)
    assert with_code(packaged, code) == recipe_of(code)
    assert with_code(packaged, training_code(NAME, files, 60)) is not None
    for other in (None, training_code("os:system", files, 300), training_code(NAME, {"pricing/model.py": ""}, 300)):
        assert with_code(packaged, other) is None
    own = Recipe((Member("ridge"),))
    assert with_code(own, None) is own
    assert without_code(own) is own


def test_nothing_is_searched_for_beside_an_entry_point(tmp_path: Path) -> None:
    product, code = product_of(tmp_path), training_code(NAME, {}, 300)
    plan = plan_of(product, TrainSettings(budget_seconds=None), code)
    assert not plan.tunes
    assert name_of(recipe_of(code)) == "entry point pricing.model:build"
    for option, settings in (
        ("--candidates", TrainSettings(candidates=("ridge",))),
        ("--budget-seconds", TrainSettings(budget_seconds=5)),
        ("--trials", TrainSettings(trials=3)),
    ):
        with pytest.raises(EntryPointError, match=rf"training\.entry_point: pricing\.model:build: {option} must not"):
            plan_of(product, settings, code)
