"""Cases for the gate: worlds whose truth is known, each with a champion and a challenger.

Each is a world of its own seed with a history of 120 days. The champion was made on day 30 and the challenger on
day 120; packages, rows and verdict are the pipeline's own. Which of the two is better is measured, not supposed: on
4,000 new cases of the last day, against their true targets without noise.
"""

import tempfile
from datetime import timedelta
from pathlib import Path

import msgspec
import numpy as np
from retraining.world import Drift, World

from beacon_core.domain.product import Product
from beacon_core.model_package.manifest import Package
from beacon_core.model_package.session import open_session
from beacon_core.platform.settings import Settings
from beacon_retraining.data.dataset import Dataset
from beacon_retraining.evaluation.evaluate import evaluate
from beacon_retraining.packaging import export
from beacon_retraining.packaging.export import ParityError
from beacon_retraining.packaging.package import PackageOrigin, write_package
from beacon_retraining.training.imputation import model_columns
from beacon_retraining.training.settings import TrainSettings
from beacon_retraining.training.train import train

DAYS, MADE, PER_DAY, FRESH = 120, 30, 8, 4000
STRONG, WEAKER = "kernel-ridge", ("extra-trees", "ridge")
UNPACKAGED = "unpackaged"
DRIFTS = (
    Drift(begin=30, end=40, level=0.5),
    Drift(begin=30, end=40, level=-0.4),
    Drift(begin=30, end=40, faded=(0.8,)),
    Drift(begin=30, end=40, faded=(0.0, 0.5), level=0.25),
)


class Case(msgspec.Struct, frozen=True):
    """What happened in one world: the truth (MAE of the champion and the challenger) and the verdict."""

    kind: str
    seed: int
    champion: float
    challenger: float
    outcome: str
    reason: str

    @property
    def right(self) -> bool:
        """Better passes; worse does not. A model that could not be packaged was never judged."""
        return self.outcome != UNPACKAGED and (self.outcome == "pass") == (self.kind == "better")

    @property
    def clear(self) -> bool:
        """Whether the case is what its kind says."""
        return (self.challenger < self.champion) == (self.kind == "better")


def run(product: Product, kind: str, seed: int) -> Case:
    """One world: `better` drifts after the champion was made; in `worse` all stays, and the recipe is a weaker one."""
    drifts = (DRIFTS[seed % len(DRIFTS)],) if kind == "better" else ()
    world = World(product, drifts)
    history = world.history(seed, DAYS, PER_DAY)
    recipe = STRONG if kind == "better" else WEAKER[seed % len(WEAKER)]
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder)
        try:
            champion = make(models, world, world.until(history, MADE), STRONG, "1", MADE, seed)
            challenger = make(models, world, history, recipe, "2", DAYS, seed)
        except ParityError as error:
            return Case(kind, seed, np.nan, np.nan, UNPACKAGED, str(error))
        said = evaluate(Settings(), product, history, challenger, champion, quick(recipe, seed))
        old, new = (true_error(world, package, seed) for package in (champion, challenger))
    return Case(kind, seed, old, new, said.outcome, said.reason)


def quick(recipe: str, seed: int) -> TrainSettings:
    """A search among one."""
    return TrainSettings(folds=3, repeats=1, coverage_folds=3, seed=seed, jobs=1, candidates=(recipe,))


def make(models: Path, world: World, rows: Dataset, recipe: str, version: str, day: int, seed: int) -> Package:
    """A package as the pipeline makes it, dated to `day`."""
    settings = quick(recipe, seed)
    origin = PackageOrigin(version, "generated", "unknown", world.start + timedelta(days=day))
    return write_package(models, world.product, rows, train(rows, world.product, settings), settings, origin)


def true_error(world: World, package: Package, seed: int) -> float:
    """MAE on new cases of the last day, against their true targets."""
    days = np.full(FRESH, float(DAYS))
    cases = world.draw(np.random.default_rng(seed + 1_000_000), days)
    fill = np.array([feature.fill for feature in package.manifest.features])
    columns = model_columns(cases.features, fill, package.manifest.schema, world.seconds(days))
    answers = export.run(open_session(package.model), columns)
    return float(np.abs(answers - world.targets(cases, days)).mean())
