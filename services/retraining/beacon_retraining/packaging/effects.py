"""The effects of a model's features: how much each contributes, how the prediction follows it, and which two interact.

All figures are of the packaged model, over training rows, in the target's unit.
"""

import itertools
from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import NDArray

from beacon_core.domain.feature import Feature
from beacon_core.model_package.explanation.explainer import Explainer
from beacon_retraining.data.dataset import Matrix

Predict = Callable[[Matrix, Matrix], Matrix]
"""Predictions (rows,) of features (rows, features) at times (rows,)."""

EXPLAINED_ROWS, SAMPLED_ROWS = 200, 40
"""Rows whose contributions are counted; sampling takes many times as long."""
SAMPLED_CONTRIBUTIONS = 4000
"""Contributions that are sampled, about: of many features those of few rows."""
CURVES = 6
"""Features that have a curve: the ones that contribute most."""
PAIRED = 4
"""Features whose pairs are compared."""
CURVE_ROWS, PAIR_ROWS = 200, 60
CURVE_POINTS, PAIR_POINTS = 24, 7
BINS = 24
MOST_LEVELS = 12
"""Levels of a category that are shown: the most frequent ones."""


class Curve(msgspec.Struct, frozen=True):
    """Partial dependence: the mean prediction (points,) where `feature` has each of `values` (points,) in all rows.

    `shares` are the rows' shares with each value, or between each two of `edges` for a number of many values.
    """

    feature: int
    values: Matrix
    predictions: Matrix
    shares: Matrix
    edges: Matrix


class Interaction(msgspec.Struct, frozen=True):
    """Two features whose common effect is most unlike the sum of their own.

    `predictions` (points of first, points of second) are partial dependence. `size` is the root mean square of what the
    sum of the two does not explain, in the target's unit; `share` is Friedman's and Popescu's H: its share in the two
    features' common effect.
    """

    first: int
    second: int
    first_values: Matrix
    second_values: Matrix
    predictions: Matrix
    size: float
    share: float


class Effects(msgspec.Struct, frozen=True):
    """`contributions` are the mean sizes by player; `is_exact` says whether they are exact or sampled.

    `interaction` is None for a single feature, or where all effects add up.
    """

    contributions: dict[str, float]
    is_exact: bool
    rows: int
    curves: tuple[Curve, ...]
    interaction: Interaction | None


def find_effects(
    explainer: Explainer, features: tuple[Feature, ...], rows: Matrix, columns: Matrix, times: Matrix, predict: Predict
) -> Effects:
    """The effects over complete training rows (rows, features), their columns of the model, and their event times."""
    sampled = min(SAMPLED_ROWS, max(2, SAMPLED_CONTRIBUTIONS // len(explainer.players)))
    some = _evenly(len(rows), EXPLAINED_ROWS if explainer.is_exact else sampled)
    found = [explainer.explain_columns(row) for row in columns[some]]
    sizes = np.abs([each.contributions for each in found]).mean(axis=0)
    mean_sizes = dict(zip(explainer.players, sizes.tolist(), strict=True))
    ranked = sorted(range(len(features)), key=lambda at: -mean_sizes[features[at].name])
    moving = [at for at in ranked if len(np.unique(rows[:, at])) > 1]
    few = _evenly(len(rows), CURVE_ROWS)
    curves = tuple(_curve(at, features[at], rows, rows[few], times[few], predict) for at in moving[:CURVES])
    return Effects(
        contributions=dict(sorted(mean_sizes.items(), key=lambda item: -item[1])),
        is_exact=all(each.method == "exact" for each in found),
        rows=len(some),
        curves=curves,
        interaction=_interaction(moving[:PAIRED], features, rows, times, predict),
    )


def _curve(at: int, feature: Feature, rows: Matrix, few: Matrix, times: Matrix, predict: Predict) -> Curve:
    values = _points(feature, rows[:, at], CURVE_POINTS)
    predictions = _dependence(few, times, {at: values}, predict)
    if feature.is_category or len(np.unique(rows[:, at])) == len(values):
        shares = (rows[:, at][:, None] == values).mean(axis=0)
        return Curve(at, values, predictions, shares, np.zeros(0))
    counts, edges = np.histogram(rows[:, at], bins=BINS, range=(values.min(), values.max()))
    return Curve(at, values, predictions, counts / len(rows), edges)


def _interaction(
    candidates: list[int], features: tuple[Feature, ...], rows: Matrix, times: Matrix, predict: Predict
) -> Interaction | None:
    few = _evenly(len(rows), PAIR_ROWS)
    points = {at: _points(features[at], rows[:, at], PAIR_POINTS) for at in candidates}
    best: Interaction | None = None
    for first, second in itertools.combinations(candidates, 2):
        given = {first: points[first], second: points[second]}
        table = _dependence(rows[few], times[few], given, predict).reshape(len(points[first]), len(points[second]))
        common = table - table.mean()
        rest = common - common.mean(axis=1, keepdims=True) - common.mean(axis=0, keepdims=True)
        size, whole = float(np.sqrt(np.mean(rest**2))), float(np.sqrt(np.mean(common**2)))
        if whole > 0 and size > (best.size if best else NOTHING * float(np.abs(table).max())):
            best = Interaction(first, second, points[first], points[second], table, size, size / whole)
    return best


NOTHING = 1e-6
"""A share of the predictions that is rounding."""


def _dependence(rows: Matrix, times: Matrix, given: dict[int, Matrix], predict: Predict) -> Matrix:
    """The mean prediction over the rows for each combination of the given features' values."""
    grid = np.array(list(itertools.product(*given.values())))
    changed = np.tile(rows, (len(grid), 1))
    changed[:, list(given)] = np.repeat(grid, len(rows), axis=0)
    means: Matrix = predict(changed, np.tile(times, len(grid))).reshape(len(grid), len(rows)).mean(axis=1)
    return means


def _points(feature: Feature, values: Matrix, most: int) -> Matrix:
    """The values of a feature that are tried: a category's most frequent levels, quantiles of a number."""
    known, counts = np.unique(values, return_counts=True)
    if feature.is_category:
        return np.sort(known[np.argsort(-counts, kind="stable")[: min(most, MOST_LEVELS)]])
    if len(known) <= most:
        return known
    return np.unique(np.quantile(values, np.linspace(0.01, 0.99, most), method="nearest"))


def _evenly(count: int, most: int) -> NDArray[np.int64]:
    return np.linspace(0, count - 1, min(count, most)).astype(np.int64)
