"""What is tried of an entry point before anything slow: its code, then a fit to few rows, twice."""

from collections.abc import Callable

import numpy as np

from beacon_core.domain.product import Product
from beacon_core.model_package.recipe import Recipe
from beacon_retraining.data.dataset import Dataset
from beacon_retraining.training.columns import columns_of, stated_levels
from beacon_retraining.training.entry_point.code import TrainingCode
from beacon_retraining.training.entry_point.errors import refusal
from beacon_retraining.training.entry_point.model import EntryPointModel
from beacon_retraining.training.fitting import FittedModel, fit
from beacon_retraining.training.splits import Index

ROWS = 500
ALIKE = 1e-6
"""How far two fits may be apart, as a share of the target's spread: sums of several threads differ in the last bits."""


def try_code(entry_point: TrainingCode, product: Product, seed: int) -> None:
    """Import the code and build an estimator; raises `EntryPointError`."""
    EntryPointModel(entry_point, columns_of(product.schema, stated_levels(product.schema)), product.target.name, seed)


def try_fit(recipe: Recipe, dataset: Dataset, seed: int, check: Callable[[FittedModel], None] | None) -> None:
    """Fit to some rows, twice, and `check` the model as the final one is; raises `EntryPointError`."""
    rows = np.sort(np.random.default_rng(seed).permutation(len(dataset.target))[:ROWS])
    fitted = fit(recipe, dataset, seed, rows)
    check_repeats(fitted, recipe, dataset, seed, rows)
    if check is not None:
        check(fitted)


def check_repeats(fitted: FittedModel, recipe: Recipe, dataset: Dataset, seed: int, rows: Index | None = None) -> None:
    """Raise `EntryPointError` where another fit to the same rows by the same seed gives another model."""
    if recipe.entry_point is None:
        return
    again = fit(recipe, dataset, seed, rows)
    first, second = (model.predict(dataset.features, dataset.seconds) for model in (fitted, again))
    apart = float(np.abs(first - second).max())
    if apart > ALIKE * dataset.spread:
        raise refusal(
            recipe.entry_point.function,
            f"two fits to the same rows give different models: predictions differ by up to {apart:.3g}. The same rows "
            "and seed must give the same model: give inputs.seed to every random_state",
        )
