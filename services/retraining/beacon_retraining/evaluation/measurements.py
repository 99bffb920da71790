"""What is measured of a package itself: its parity, its latency, its steps along a feature, and its predictions."""

import time

import numpy as np
from onnxruntime import InferenceSession

from beacon_core.domain.product import Product
from beacon_core.model_package.manifest import Package, digest
from beacon_core.model_package.recipe import Recipe
from beacon_core.model_package.session import open_session
from beacon_retraining.data.dataset import Dataset, Matrix
from beacon_retraining.evaluation.gate import PackageMeasurements
from beacon_retraining.packaging import export
from beacon_retraining.packaging.spread_output import run_with_spread
from beacon_retraining.training.effort import effort_of
from beacon_retraining.training.fitting import fit
from beacon_retraining.training.imputation import model_columns
from beacon_retraining.training.settings import TrainSettings
from beacon_retraining.training.train import ModelExport

ROUNDS, CALLS = 5, 200


def measure_package(
    product: Product,
    dataset: Dataset,
    package: Package,
    recipe: Recipe,
    training: TrainSettings,
    exported: ModelExport | None,
) -> PackageMeasurements:
    """Measure parity over all rows, latency in seconds, and the steps of the features that have a direction.

    Parity is against its `recipe` fitted anew: it also shows that the package is what the recipe makes of these data.
    Of many rows such a fit takes minutes: then it is what the export of this very model measured, against its own fit.
    """
    refits = effort_of(len(dataset.target), training).refits
    if refits or exported is None or exported.sha256 != digest(package.model):
        parity = _refitted_parity(dataset, package, recipe, training.seed)
    else:
        parity = exported.parity
    return PackageMeasurements(latency(package), parity, steps_of(product, dataset, package))


def _refitted_parity(dataset: Dataset, package: Package, recipe: Recipe, seed: int) -> float:
    answers, _ = run_package(package, open_session(package.model), dataset.features, dataset.seconds)
    refitted = fit(recipe, dataset, seed).predict(dataset.features, dataset.seconds)
    return float(np.abs(answers - refitted).max())


def steps_of(product: Product, dataset: Dataset, package: Package) -> dict[str, float]:
    """The mean change of the prediction when a feature that has a direction rises from median to upper quartile."""
    if not product.policy.promotion.directions:
        return {}
    session, manifest, names = open_session(package.model), package.manifest, dataset.schema.feature_names
    unmoved, _ = run_package(package, session, dataset.features, dataset.seconds)
    steps = {}
    for name in product.policy.promotion.directions:
        column = names.index(name)
        facts = manifest.features[column]
        moved = dataset.features.copy()
        moved[:, column] = np.where(np.isnan(moved[:, column]), facts.fill, moved[:, column])
        moved[:, column] = np.minimum(moved[:, column] + facts.quantiles[4] - facts.quantiles[3], facts.max)
        steps[name] = float((run_package(package, session, moved, dataset.seconds)[0] - unmoved).mean())
    return steps


def latency(package: Package) -> float:
    """The p99 of one-row calls, in seconds of the calling thread: the best of some rounds.

    The session runs on that thread alone, so this is what the model takes; time that other work on the machine has the
    core for is none of the model's.
    """
    session = open_session(package.model)
    manifest = package.manifest
    fill, now = np.array([facts.fill for facts in manifest.features]), np.zeros(1)
    row = model_columns(np.array([manifest.golden[0].row]), fill, manifest.schema, now)
    seconds = np.empty((ROUNDS, CALLS))
    for round_and_call in np.ndindex(seconds.shape):
        start = time.thread_time()
        export.run(session, row)
        seconds[round_and_call] = time.thread_time() - start
    return float(np.quantile(seconds, 0.99, axis=1).min())


def run_package(
    package: Package, session: InferenceSession, features: Matrix, seconds: Matrix
) -> tuple[Matrix, Matrix]:
    """A package's predictions of rows of its own features, and their spreads, each (rows,)."""
    manifest = package.manifest
    fill = np.array([facts.fill for facts in manifest.features])
    return run_with_spread(session, model_columns(features, fill, manifest.schema, seconds))
