"""Train the bench's models, each as a Beacon package and, for the peers, as a scikit-learn pipeline.

The product's model is trained as the retraining job does it; the plain boosting is what a user would fit instead; and
there is one of each family that the search may choose for this product, with its first settings.
Runs in the retraining service's environment: `python train.py FOLDER`, with BEACON_HOME the state to fill. Each model's
files are in a folder of its own below FOLDER, with the facts in model.json.
"""

import copy
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import msgspec
import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline

from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product
from beacon_core.feature_store import repo
from beacon_core.model_package.manifest import MODEL_FILE
from beacon_core.model_package.release import Release, write_release
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import Settings, load_settings
from beacon_core.sources.table import load_table
from beacon_retraining import training
from beacon_retraining.data.dataset import Dataset, Matrix
from beacon_retraining.data.history import base_rows, load_dataset
from beacon_retraining.data.offline import write_offline
from beacon_retraining.data.validate import validate_table
from beacon_retraining.packaging.package import PackageOrigin, write_package
from beacon_retraining.training.estimators import Blend, TableModel
from beacon_retraining.training.imputation import impute
from beacon_retraining.training.recipes import offered
from beacon_retraining.training.search import plan_of
from beacon_retraining.training.settings import TrainSettings
from beacon_retraining.training.train import TrainedModel, train
from beacon_retraining.training.xgboost_trees import XGBoostTrees

ROWS = 1000
FAMILIES = "families"
"""The folder with a model of each family."""
TREES, DEPTH = 300, 4
"""Of the plain boosting; all else is scikit-learn's default."""


class SentRows(msgspec.Struct, frozen=True):
    """The rows that clients send: complete ones, as a null has no place in some peers' protocols.

    `features` (ROWS, features); `entities` are their keys.
    """

    features: Matrix
    entities: list[int]


def main(folder: Path) -> None:
    settings = load_settings()
    product = load_product(settings.product)
    _check(product)
    dataset = _prepare(settings, product)
    rows = _choose(settings, product, dataset)
    once = TrainSettings(repeats=1)  # the fitted model is the same; fewer repeats only measure it less well
    blend = train(dataset, product, once)
    _write(folder, "product", settings.home, product, rows, dataset, blend, blend.model)
    boosting, regressor = _plain(dataset, blend)
    _write(folder, "plain", folder / "plain" / "home", product, rows, dataset, boosting, regressor)
    plan = plan_of(product, once)
    for family in offered(plan.models, dataset, plan.monotone):
        own = train(dataset, product, msgspec.structs.replace(once, candidates=(family.name,)))
        home = folder / FAMILIES / family.name / "home"
        _write(folder / FAMILIES, family.name, home, product, rows, dataset, own, own.model)


def _write(
    folder: Path,
    name: str,
    home: Path,
    product: Product,
    rows: SentRows,
    dataset: Dataset,
    trained: TrainedModel,
    model: Any,
) -> None:
    """Write a model's package into its `home`, and what peers and clients need of it into its folder."""
    own = folder / name
    own.mkdir(parents=True, exist_ok=True)
    origin = PackageOrigin("1", "sample", load_settings().build_revision, datetime.now(UTC))
    package = write_package(home / "models", product, dataset, trained, TrainSettings(repeats=1), origin)
    write_release(home / "release.json", Release(model=Pin(product.name, "1", package.sha256)))
    imputer = SimpleImputer(strategy="median").fit(trained.fill.reshape(1, -1))
    pipeline = make_pipeline(imputer, _for_peers(model))
    (own / "pipeline.joblib").write_bytes(_with_its_classes(pipeline))
    (own / "model.onnx").write_bytes((package.folder / MODEL_FILE).read_bytes())
    facts = {
        "name": name,
        "folder": str(own),
        "home": str(home),
        "algorithm": trained.algorithm,
        "expected": pipeline.predict(rows.features).tolist(),
    }
    (own / "model.json").write_text(json.dumps(facts | _facts(product, rows)))


def _with_its_classes(pipeline: Any) -> bytes:
    """The pickled pipeline, with the few classes of our own inside, so that it loads where Beacon's code is not."""
    # Only now: what the training itself sends to its processes is none of this.
    cloudpickle.register_pickle_by_value(training)
    try:
        pickled: bytes = cloudpickle.dumps(pipeline)
    finally:
        cloudpickle.unregister_pickle_by_value(training)
    return pickled


class QuickXGBoost(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """XGBoost's trees as XGBoost itself answers quickest, which is what its users do."""

    def __init__(self, booster: Any) -> None:
        self.booster = booster

    def predict(self, features: Matrix) -> Matrix:
        """The sums of the leaves in float32, shape (rows,)."""
        sums: Matrix = self.booster.inplace_predict(features)
        return sums


def _for_peers(model: Any) -> Any:
    """The model without what Beacon adds for its own sake: XGBoost's leaves, added anew in double, cost peers time."""
    if isinstance(model, XGBoostTrees):
        return QuickXGBoost(model.booster_)
    own = copy.copy(model)
    if isinstance(model, TableModel):
        own.regressor_ = _for_peers(model.regressor_)
    elif isinstance(model, Blend):
        own.members_ = [(_for_peers(member), weight) for member, weight in model.members_]
    return own


def _check(product: Product) -> None:
    """End where the peers' protocols cannot ask for the product: they take matrices of numbers."""
    text = [feature.name for feature in product.features if not feature.is_number]
    if text:
        raise SystemExit(f"{product.file}: the benchmark compares answers to numbers; text or times: {', '.join(text)}")
    if product.entity is None or [kind for _, kind in product.entity.columns] != ["int64"]:
        raise SystemExit(f"{product.file}: the benchmark needs an entity with one key of whole numbers (entity.key)")


def _prepare(settings: Settings, product: Product) -> Dataset:
    """The stages of the retraining job before training, from the product's table."""
    write_offline(settings, product, validate_table(load_table(product).table, product), datetime.now(UTC))
    repo.apply(settings, product)
    repo.materialize(settings, product)
    return load_dataset(settings, product)


def _choose(settings: Settings, product: Product, dataset: Dataset) -> SentRows:
    complete = np.flatnonzero(~np.isnan(dataset.features).any(axis=1))
    keys = base_rows(settings, product)[product.keys[0]].to_numpy()
    chosen = np.random.default_rng(0).choice(complete, ROWS)
    return SentRows(dataset.features[chosen], [int(key) for key in keys[chosen]])


def _plain(dataset: Dataset, trained: TrainedModel) -> tuple[TrainedModel, Any]:
    """A plain boosting as Beacon packages it, and as scikit-learn has it: the same trees, with nothing around them.

    Its package has the scores and intervals of `trained`: they cost the same to serve, and say nothing of this model.
    """
    columns = impute(dataset.features, trained.fill)
    regressor = GradientBoostingRegressor(n_estimators=TREES, max_depth=DEPTH, random_state=0)
    regressor.fit(columns, dataset.target)
    model = TableModel(regressor)
    model.mean_, model.scale_, model.encoder_, model.regressor_ = 0.0, 1.0, None, regressor
    model.n_features_in_ = columns.shape[1]
    return msgspec.structs.replace(trained, algorithm="plain boosting", model=model), regressor


def _facts(product: Product, rows: SentRows) -> dict[str, Any]:
    """What both models' clients have to know."""
    whole = [feature.type == "int" for feature in product.features]
    return {
        "product": product.name,
        "names": product.feature_names,
        "entity": product.keys[0],
        "feature_service": product.feature_service,
        "entities": rows.entities,
        "rows": [
            {
                name: int(value) if as_int else float(value)
                for name, value, as_int in zip(product.feature_names, row, whole, strict=True)
            }
            for row in rows.features
        ],
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
