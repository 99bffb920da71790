"""What is measured of a foreign model on rows that it has not seen: scores, interval, importances."""

import math
from collections.abc import Callable

import msgspec
import numpy as np

from beacon_core.model_package.manifest import Interval, Score
from beacon_retraining.data.dataset import Dataset, Matrix
from beacon_retraining.training.interval import covered, widths

FOLDS = 5
IMPORTANCE_ROWS = 4000
METHOD = "conformal, from the signed residuals of the given rows"


class Figures(msgspec.Struct, frozen=True):
    """Of the given rows: `low` and `high` (rows) are ends of intervals whose widths other rows set.

    `importances` (features) are rises of the RMSE when a feature's values are shuffled. All in the target's unit.
    """

    interval: Interval
    scores: tuple[Score, ...]
    mae: float
    low: Matrix
    high: Matrix
    importances: Matrix


def least_rows(coverage: float) -> int:
    """So many rows give an interval of this coverage a finite width, also without a fold of them."""
    return math.ceil((1 + coverage) / (1 - coverage) * FOLDS / (FOLDS - 1))


def measure(
    dataset: Dataset, predictions: Matrix, coverage: float, predict: Callable[[Matrix], Matrix], seed: int
) -> Figures:
    """The figures of predictions (rows,) of a dataset; `predict` answers features (rows, features)."""
    residuals, weights = dataset.target - predictions, dataset.row_weights
    own_weights = dataset.weights
    whole = widths(residuals, coverage, own_weights)
    low, high, inside = np.empty(len(residuals)), np.empty(len(residuals)), np.empty(len(residuals), bool)
    for rows in np.array_split(np.random.default_rng(seed).permutation(len(residuals)), FOLDS):
        others = np.setdiff1d(np.arange(len(residuals)), rows)
        fold = widths(residuals[others], coverage, None if own_weights is None else own_weights[others])
        low[rows], high[rows] = predictions[rows] - fold.low, predictions[rows] + fold.high
        inside[rows] = covered(residuals[rows], fold)
    mae = float(np.average(np.abs(residuals), weights=weights))
    return Figures(
        interval=Interval(METHOD, coverage, whole.low, whole.high, float(np.average(inside, weights=weights))),
        scores=_scores(dataset, residuals, mae),
        mae=mae,
        low=low,
        high=high,
        importances=_importances(dataset, predict, seed),
    )


def _scores(dataset: Dataset, residuals: Matrix, mae: float) -> tuple[Score, ...]:
    weights, how = dataset.row_weights, f"on {len(residuals)} given rows, which the model has not seen"
    square = float(np.average(residuals**2, weights=weights))
    variance = float(np.average((dataset.target - np.average(dataset.target, weights=weights)) ** 2, weights=weights))
    r2 = 1 - square / variance if variance else 0.0
    return (Score("rmse", math.sqrt(square), how), Score("mae", mae, how), Score("r2", r2, how))


def _importances(dataset: Dataset, predict: Callable[[Matrix], Matrix], seed: int) -> Matrix:
    """Of the first rows by chance: enough to rank by."""
    generator = np.random.default_rng(seed)
    rows = np.sort(generator.permutation(len(dataset.target))[:IMPORTANCE_ROWS])
    features, target, weights = dataset.features[rows], dataset.target[rows], dataset.row_weights[rows]

    def rmse(values: Matrix) -> float:
        return float(np.sqrt(np.average((target - predict(values)) ** 2, weights=weights)))

    base, rises = rmse(features), np.zeros(features.shape[1])
    for column in range(features.shape[1]):
        changed = features.copy()
        changed[:, column] = generator.permutation(changed[:, column])
        rises[column] = rmse(changed) - base
    return rises
