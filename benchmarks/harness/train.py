"""Train Beacon's model as its job does, and hand the same fitted model to the peers as a scikit-learn pipeline.

Runs in the retraining service's environment: `python train.py FOLDER`, with BEACON_HOME the state to fill.
"""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import numpy as np
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline

from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product
from beacon_core.feature_store import repo
from beacon_core.model_package.manifest import MODEL_FILE, Package
from beacon_core.model_package.release import Release, write_release
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import Settings, load_settings
from beacon_core.sources.table import load_table
from beacon_retraining.data.history import base_rows, load_dataset
from beacon_retraining.data.offline import write_offline
from beacon_retraining.data.validate import validate_table
from beacon_retraining.packaging.package import PackageOrigin, write_package
from beacon_retraining.training import encoder, estimators
from beacon_retraining.training.settings import TrainSettings
from beacon_retraining.training.train import TrainedModel, train

ROWS = 1000


def main(folder: Path) -> None:
    settings = load_settings()
    product = load_product(settings.product)
    _check(product)
    trained, package = _train(settings, product)
    pipeline = _as_scikit_learn(trained)
    # The few classes of our own travel inside the file, so that it loads where Beacon's code is not.
    for module in (estimators, encoder):
        cloudpickle.register_pickle_by_value(module)
    (folder / "pipeline.joblib").write_bytes(cloudpickle.dumps(pipeline))
    (folder / "model.onnx").write_bytes((package.folder / MODEL_FILE).read_bytes())
    # Only rows that lack nothing: a null has no place in some peers' protocols.
    features = load_dataset(settings, product).features
    complete = np.flatnonzero(~np.isnan(features).any(axis=1))
    keys = base_rows(settings, product)[product.keys[0]].to_numpy()
    chosen = np.random.default_rng(0).choice(complete, ROWS)
    whole = [feature.type == "int" for feature in product.features]
    rows = [[int(v) if w else float(v) for v, w in zip(features[i], whole, strict=True)] for i in chosen]
    facts = {
        "folder": str(folder),
        "home": str(settings.home),
        "algorithm": trained.algorithm,
        "names": product.feature_names,
        "entity": product.keys[0],
        "feature_service": product.feature_service,
        "entities": [int(key) for key in keys[chosen]],
        "rows": [dict(zip(product.feature_names, row, strict=True)) for row in rows],
        "expected": pipeline.predict(features[chosen]).tolist(),
    }
    (folder / "model.json").write_text(json.dumps(facts))


def _check(product: Product) -> None:
    """End where the peers' protocols cannot ask for the product: they take matrices of numbers."""
    text = [feature.name for feature in product.features if not feature.is_number]
    if text:
        raise SystemExit(f"{product.file}: the benchmark compares answers to numbers; text or times: {', '.join(text)}")
    if product.entity is None or [kind for _, kind in product.entity.columns] != ["int64"]:
        raise SystemExit(f"{product.file}: the benchmark needs an entity with one key of whole numbers (entity.key)")


def _train(settings: Settings, product: Product) -> tuple[TrainedModel, Package]:
    """The stages of the retraining job, from the product's table and without a registry."""
    write_offline(settings, product, validate_table(load_table(product).table, product), datetime.now(UTC))
    repo.apply(settings, product)
    repo.materialize(settings, product)
    dataset = load_dataset(settings, product)
    training = TrainSettings(repeats=1)  # the fitted model is the same; fewer repeats only measure it less well
    trained = train(dataset, product, training)
    origin = PackageOrigin("1", "sample", settings.build_revision, datetime.now(UTC))
    package = write_package(settings.models_dir, product, dataset, trained, training, origin)
    write_release(settings.release_file, Release(model=Pin(product.name, "1", package.sha256)))
    return trained, package


def _as_scikit_learn(trained: TrainedModel) -> Any:
    """Imputer and model in one pipeline."""
    imputer = SimpleImputer(strategy="median").fit(trained.fill.reshape(1, -1))
    return make_pipeline(imputer, trained.model)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
