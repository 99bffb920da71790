"""The cost of a fit, from its recipe and the table's shape alone.

The search plans its trials by it, so that equal inputs give equal trials, however fast the machine is. The constants
were measured on one core of an x86-64 server of 2024, on tables of 450 to 40,000 rows; they need be right to a factor.
"""

import math

import msgspec

from beacon_core.model_package.recipe import Member, Recipe
from beacon_retraining.data.dataset import Dataset
from beacon_retraining.training.encoder import layout_of
from beacon_retraining.training.families import FAMILIES

OVERHEAD = 0.01
"""Seconds of any fit: imputation, encoding, predictions."""
MOST_FIT_SECONDS = 150.0
"""Of one core, for one fit of all rows: a model is fitted some eight times until it has a verdict."""
LEAST_TREES = 20
TREE_COUNTS = ("n_estimators", "max_iter")
"""What the families call the number of their trees."""


def fit_seconds(recipe: Recipe, dataset: Dataset, rows: int) -> float:
    """Seconds of one core for one fit of so many rows of the dataset."""
    columns = layout_of(dataset, recipe.most_onehot).width
    return OVERHEAD + sum(_member_seconds(member, rows, columns) for member in recipe.members)


def is_affordable(recipe: Recipe, dataset: Dataset) -> bool:
    """Whether a fit of all rows is within `MOST_FIT_SECONDS`."""
    return fit_seconds(recipe, dataset, len(dataset.target)) <= MOST_FIT_SECONDS


def shortened(recipe: Recipe, dataset: Dataset) -> Recipe:
    """The recipe, of one member, with fewer trees where it is not affordable."""
    (member,) = recipe.members
    own = FAMILIES[member.family].defaults | member.parameters
    key = next((name for name in TREE_COUNTS if name in own), None)
    if key is None or is_affordable(recipe, dataset):
        return recipe
    share = MOST_FIT_SECONDS / fit_seconds(recipe, dataset, len(dataset.target))
    fewer = member.parameters | {key: max(LEAST_TREES, int(share * float(own[key])))}
    return msgspec.structs.replace(recipe, members=(msgspec.structs.replace(member, parameters=fewer),))


def _member_seconds(member: Member, rows: int, columns: int) -> float:
    own = FAMILIES[member.family].defaults | member.parameters

    def value(name: str, otherwise: float = 1.0) -> float:
        return float(own.get(name, otherwise))

    if member.family == "ridge":
        return 2e-8 * rows * columns * min(rows, columns)
    if member.family == "kernel-ridge":
        return 1e-10 * rows**3 / 3 + 3e-8 * rows**2
    if member.family == "extra-trees":
        cells = rows * columns * value("max_features")
        return value("n_estimators") * (3e-4 + 1.7e-8 * cells * math.log2(rows + 1))
    if member.family == "boosting":
        cells = rows * value("subsample") * columns * value("max_features")
        return value("n_estimators") * (4e-4 + 6.5e-8 * cells * value("max_depth"))
    if member.family == "hist-boosting":
        leaves = min(value("max_leaf_nodes"), rows / value("min_samples_leaf"))
        return value("max_iter") * (5e-5 * leaves + 3.5e-9 * rows * columns)
    leaves = min(value("max_leaves"), rows / value("min_child_weight"))
    bins = 256 * columns * value("colsample_bynode") * leaves
    return value("n_estimators") * (2e-4 + 1.5e-8 * bins + 4e-9 * rows * columns)
