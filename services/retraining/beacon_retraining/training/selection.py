"""Selection: the figures of a recipe from its held-out predictions, and the choice of the simplest good one."""

from collections.abc import Iterable

import msgspec
import numpy as np

from beacon_retraining.data.dataset import Dataset, Matrix
from beacon_retraining.training.families import Metric
from beacon_retraining.training.splits import Index, Split

SIMPLICITY = 1.01
"""A simpler model's error to the best one's, at most: on few rows a standard error is wide, and would hide more."""


class TrainingResult(msgspec.Struct, frozen=True):
    """One recipe's cross-validation: means over the folds and their spread (standard deviation), target's unit.

    `held_out` are the predictions, shape (repeats, rows), of `rows`; `pooled_rmse` is over all of them at once.
    """

    name: str
    rmse: float
    rmse_spread: float
    pooled_rmse: float
    mae: float
    mae_spread: float
    r2: float
    r2_spread: float
    rows: Index
    held_out: Matrix

    def error(self, metric: Metric) -> float:
        """What the search makes small, over all held-out rows."""
        return self.pooled_rmse if metric == "rmse" else self.mae


def losses_of(residuals: Matrix, metric: Metric) -> Matrix:
    """Each residual's loss, of the same shape."""
    return residuals**2 if metric == "rmse" else np.abs(residuals)


def error_of(residuals: Matrix, weights: Matrix, metric: Metric) -> float:
    """The weighted error of residuals (rows,), in their unit."""
    mean = float(np.average(losses_of(residuals, metric), weights=weights))
    return mean**0.5 if metric == "rmse" else mean


def excess_over_best(
    results: tuple[TrainingResult, ...], target: Matrix, row_weights: Matrix | None = None, metric: Metric = "rmse"
) -> dict[str, tuple[float, float]]:
    """Of each result: its mean loss above the best one's, and the standard error of that difference.

    Row by row, on the same rows: repeats are averaged first, since they are not new evidence. `target` and
    `row_weights` are of all rows.
    """
    rows = results[0].rows
    target, weights = target[rows], np.ones(len(rows)) if row_weights is None else row_weights[rows]
    errors = {result.name: weights * np.mean(losses_of(target - result.held_out, metric), axis=0) for result in results}
    best = min(errors.values(), key=np.mean)
    differences = {name: (own - best) / weights.mean() for name, own in errors.items()}
    return {name: (float(d.mean()), float(d.std(ddof=1) / np.sqrt(len(d)))) for name, d in differences.items()}


def choose(
    results: tuple[TrainingResult, ...], excess: dict[str, tuple[float, float]], metric: Metric = "rmse"
) -> TrainingResult:
    """The first, in order of complexity, that is at most one standard error and `SIMPLICITY` behind the best."""
    most = SIMPLICITY * min(result.error(metric) for result in results)
    return next(
        result
        for result in results
        if excess[result.name][0] <= excess[result.name][1] and result.error(metric) <= most
    )


def score(name: str, held_out: Matrix, dataset: Dataset, splits: list[Split]) -> TrainingResult:
    """Held-out predictions, shape (repeats, all rows; NaN where a row was not held out), as the figures of a recipe."""
    folds = len(splits) // len(held_out)
    residuals, weights = dataset.target - held_out, dataset.row_weights
    parts = [(residuals[number // folds, test], test) for number, (_, test) in enumerate(splits)]
    rmse = [error_of(error, weights[test], "rmse") for error, test in parts]
    mae = [error_of(error, weights[test], "mae") for error, test in parts]
    r2 = [_r2(error, dataset.target[test], weights[test]) for error, test in parts]
    rows = np.flatnonzero(~np.isnan(held_out[0]))
    return TrainingResult(
        name=name,
        rmse=float(np.mean(rmse)),
        rmse_spread=float(np.std(rmse)),
        pooled_rmse=float(np.sqrt(np.average(np.mean(residuals[:, rows] ** 2, axis=0), weights=weights[rows]))),
        mae=float(np.mean(mae)),
        mae_spread=float(np.std(mae)),
        r2=float(np.mean(r2)),
        r2_spread=float(np.std(r2)),
        rows=rows,
        held_out=held_out[:, rows],
    )


def result_of_parts(name: str, dataset: Dataset, parts: Iterable[tuple[Index, Matrix]]) -> TrainingResult:
    """The figures of a recipe from held-out folds: their rows, and the predictions of them."""
    known = list(parts)
    held_out = np.full((1, len(dataset.target)), np.nan)
    for rows, predictions in known:
        held_out[0, rows] = predictions
    nothing = np.empty(0, np.intp)
    return score(name, held_out, dataset, [(nothing, rows) for rows, _ in known])


def _r2(error: Matrix, target: Matrix, weights: Matrix) -> float:
    """R2 of a fold; 0 where its rows have one value, of which nothing can be explained."""
    variance = float(np.sum(weights * (target - np.average(target, weights=weights)) ** 2))
    return 1 - float(np.sum(weights * error**2)) / variance if variance else 0.0
