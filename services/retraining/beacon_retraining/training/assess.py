"""Assess: what a candidate is worth beyond its error, counted on held-out rows.

Coverage of its interval, the features it leans on, and what missing values cost it.
"""

import msgspec
import numpy as np

from beacon_core.domain.product import Product
from beacon_retraining.data.dataset import Dataset, Matrix
from beacon_retraining.training.candidates import Candidate
from beacon_retraining.training.crossval import Part, View, folds, hold_out, shuffled, thinned, without
from beacon_retraining.training.interval import covered

SHARES = (0.1, 0.3)
"""Of all values, taken away; the verdict, too, asks for the first one."""
SHUFFLES = 5


class Assessment(msgspec.Struct, frozen=True):
    """Figures over all rows, each held out; RMSEs and their rises in the target's unit.

    `coverage`: share of rows inside their interval. `importances` (features): rise of the RMSE when the feature's
    values change places. `absent` (features): rise when it is always missing. `missing`: RMSE when that share of all
    values is. `held_out`: the rows' predictions by fold, as they are and with the first of `SHARES` taken away.
    """

    rmse: float
    coverage: float
    importances: Matrix
    absent: Matrix
    missing: dict[float, float]
    held_out: tuple[Part, ...]


def assess(
    dataset: Dataset, product: Product, candidate: Candidate, *, fold_count: int, seed: int, jobs: int
) -> Assessment:
    """Assess the candidate by one nested cross-validation of `fold_count` folds."""
    width = dataset.features.shape[1]
    views: list[View] = [thinned(share, seed) for share in SHARES]
    views += [without(column) for column in range(width)]
    views += [shuffled(column, seed + number) for column in range(width) for number in range(SHUFFLES)]
    splits = folds(len(dataset.target), fold_count, seed)
    parts = hold_out(
        dataset,
        product,
        candidate,
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
    return Assessment(
        rmse=rmse,
        coverage=float(inside.mean()),
        importances=rest[width:].reshape(width, SHUFFLES).mean(axis=1) - rmse,
        absent=rest[:width] - rmse,
        missing=dict(zip(SHARES, gaps, strict=True)),
        held_out=tuple(Part(part.rows, part.predictions[:2], part.widths) for part in parts),
    )
