"""Assess: what a model is worth beyond its error, counted on held-out rows.

The coverage of its interval, the importance of its features, and what missing values cost it.
"""

import msgspec
import numpy as np

from beacon_core.domain.product import Product
from beacon_retraining.data.dataset import Dataset, Matrix
from beacon_retraining.training.crossval import FoldPredictions, View, folds, hold_out, shuffled, thinned, without
from beacon_retraining.training.interval import covered
from beacon_retraining.training.model_specs import ModelSpec

SHARES = (0.1, 0.3)
"""Shares of all values that are removed; the verdict uses the first one, too."""
SHUFFLES = 5


class ModelAssessment(msgspec.Struct, frozen=True):
    """Figures over all rows, each held out; RMSEs and their rises in the target's unit.

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
    dataset: Dataset, product: Product, spec: ModelSpec, *, fold_count: int, seed: int, jobs: int
) -> ModelAssessment:
    """Assess the spec by one nested cross-validation of `fold_count` folds."""
    width = dataset.features.shape[1]
    views: list[View] = [thinned(share, seed) for share in SHARES]
    views += [without(column) for column in range(width)]
    views += [shuffled(column, seed + number) for column in range(width) for number in range(SHUFFLES)]
    splits = folds(len(dataset.target), fold_count, seed)
    parts = hold_out(
        dataset,
        product,
        spec,
        splits,
        views=tuple(views),
        inner_folds=fold_count,
        seed=seed,
        jobs=jobs,
        title="interval",
    )
    residuals = np.concatenate([dataset.target[part.rows] - part.predictions for part in parts], axis=1)
    inside = np.concatenate([covered(dataset.target[part.rows] - part.predictions[0], part.widths) for part in parts])
    rmse, *others = np.sqrt(np.mean(residuals**2, axis=1)).tolist()
    gaps, rest = others[: len(SHARES)], np.array(others[len(SHARES) :])
    return ModelAssessment(
        rmse=rmse,
        coverage=float(inside.mean()),
        importances=rest[width:].reshape(width, SHUFFLES).mean(axis=1) - rmse,
        absent=rest[:width] - rmse,
        missing=dict(zip(SHARES, gaps, strict=True)),
        held_out=tuple(FoldPredictions(part.rows, part.predictions[:2], part.widths) for part in parts),
    )
