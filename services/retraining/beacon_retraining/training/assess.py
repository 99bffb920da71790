"""Assess: what a model is worth beyond its error, counted on held-out rows.

The coverage of its interval, the importance of its features, and what missing values cost it.
"""

import msgspec
import numpy as np

from beacon_core.domain.product import Product
from beacon_core.model_package.recipe import Recipe
from beacon_retraining.data.dataset import Dataset, Matrix
from beacon_retraining.training.crossval import FoldPredictions, View, hold_out, shuffled, thinned, without
from beacon_retraining.training.effort import Effort
from beacon_retraining.training.splits import split_rows

SHARES = (0.1, 0.3)
"""Shares of all values that are removed; the verdict uses the first one, too."""


class ModelAssessment(msgspec.Struct, frozen=True):
    """Figures over the rows held out; RMSEs and their rises in the target's unit.

    `coverage`: share of rows inside their interval. `importances` (features): rise of the RMSE when the feature's
    values are shuffled. `absent` (features): rise when it is always missing. `missing`: RMSE by the share of all values
    that is missing. `held_out`: the rows' predictions by fold, as they are and with the first of `SHARES` removed.
    """

    rmse: float
    coverage: float
    importances: Matrix
    absent: Matrix
    missing: dict[float, float]
    held_out: tuple[FoldPredictions, ...]


def assess(
    dataset: Dataset, product: Product, recipe: Recipe, *, effort: Effort, seed: int, jobs: int
) -> ModelAssessment:
    """Assess the recipe by one nested cross-validation."""
    width, times = dataset.features.shape[1], effort.shuffles
    few_views: list[View] = [without(column) for column in range(width)]
    few_views += [shuffled(column, seed + number) for column in range(width) for number in range(times)]
    parts = hold_out(
        dataset,
        product,
        recipe,
        split_rows(dataset, product, np.arange(len(dataset.target)), effort.coverage_folds, seed),
        views=tuple(thinned(share, seed) for share in SHARES),
        few_views=tuple(few_views),
        few_rows=effort.view_rows,
        inner_folds=effort.inner_folds,
        seed=seed,
        jobs=jobs,
        title="interval",
    )
    residuals = [dataset.target[part.rows] - part.predictions for part in parts]
    weights = np.concatenate([dataset.row_weights[part.rows] for part in parts])
    inside = np.concatenate([part.covered(dataset.target[part.rows]) for part in parts])
    rmse, *gaps = _rmse(np.concatenate(residuals, axis=1), weights)
    # What shuffling adds is counted on the same rows with and without it.
    few = [part.rows[: part.few.shape[1]] for part in parts]
    few_weights = np.concatenate([dataset.row_weights[rows] for rows in few])
    plain = [own[:1, : len(rows)] for own, rows in zip(residuals, few, strict=True)]
    changed = [dataset.target[rows] - part.few for rows, part in zip(few, parts, strict=True)]
    base, *rest = _rmse(
        np.concatenate([np.vstack(pair) for pair in zip(plain, changed, strict=True)], axis=1), few_weights
    )
    rises = np.array(rest) - base
    return ModelAssessment(
        rmse=rmse,
        coverage=float(np.average(inside, weights=weights)),
        importances=rises[width:].reshape(width, times).mean(axis=1),
        absent=rises[:width],
        missing=dict(zip(SHARES, gaps, strict=True)),
        held_out=tuple(
            msgspec.structs.replace(part, predictions=part.predictions[:2], few=part.few[:0]) for part in parts
        ),
    )


def _rmse(residuals: Matrix, weights: Matrix) -> list[float]:
    """The RMSE of each view (views, rows)."""
    found: list[float] = np.sqrt(np.average(residuals**2, axis=1, weights=weights)).tolist()
    return found
