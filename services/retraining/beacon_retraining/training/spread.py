"""Spread: how large a row's error is beside those of other rows, so that intervals follow the row.

Four kinds are tried, from simple to complex, on residuals of rows that the model's fit did not see: one spread for all
rows, the prediction itself (errors that count relative), small boosted trees of the row, and both multiplied. Each is
fitted on some of these rows and calibrated on the others. A more complex one is taken where it is clearly better, by
Winkler's score. The mean spread is 1, so that an interval's widths are those of an average row.
"""

from collections.abc import Callable
from typing import Any, Literal

import msgspec
import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from beacon_core.domain.product import Product
from beacon_retraining.data.dataset import Dataset, Matrix
from beacon_retraining.training.imputation import model_columns
from beacon_retraining.training.interval import Widths, interval_scores, widths
from beacon_retraining.training.splits import Index, SplitError, split_rows

Kind = Literal["constant", "prediction", "trees", "prediction and trees"]
KINDS: tuple[Kind, ...] = ("constant", "prediction", "trees", "prediction and trees")
"""From simple to complex."""
FEW_TREES, TREES, LEAVES, LEARNING_RATE = 30, 50, 8, 0.1
"""Few and small: a prediction of one row is slower by a sixth or a quarter of what 300 trees of 32 leaves take."""
MANY_ROWS = 2000
"""From so many held-out rows on, the spread has `TREES` trees, and else `FEW_TREES`."""
SHARE = 0.8
"""The trees predict this quantile of the absolute residuals, on a logarithmic scale: outliers do not move it."""
LEAST_LEAF, LEAF_SHARE = 10, 30
MIN_ROWS = 100
"""Held-out rows for a spread that is fitted."""
OLDEST = 4
"""One row of so many is left out of a calibration by time, the oldest."""
MOST_ROWS = 50_000
"""Of more rows, so many by chance: small trees need no more."""
FOLDS = 5
MARGIN = 0.02
"""A more complex kind's score must be so much better, and by a standard error."""
NEAR_ZERO = 1e-3
"""A residual counts as at least this share of the mean one, since zero has no logarithm."""
LEAST_PREDICTION = 0.5
"""Of the smallest held-out prediction: a smaller prediction has the spread of this one, so that it stays positive."""

Fitted = Callable[[Matrix, Matrix], Matrix]


class Spread(msgspec.Struct, frozen=True):
    """The spread of any row: `scale` x max(prediction, `floor`) x exp(`trees`), as far as its kind has them."""

    kind: Kind = "constant"
    scale: float = 1.0
    floor: float = 0.0
    trees: Any = None

    @property
    def is_constant(self) -> bool:
        """Whether it is 1 for every row."""
        return self.kind == "constant"

    def of(self, columns: Matrix, predictions: Matrix) -> Matrix:
        """Spreads (rows,), positive and finite, of the graph's columns (rows, columns) and predictions (rows,)."""
        found = np.full(len(predictions), self.scale)
        if "prediction" in self.kind:
            found *= np.maximum(predictions, self.floor)
        if "trees" in self.kind:
            with threadpool_limits(1):
                found *= np.exp(self.trees.predict(columns))
        return found


class Calibration(msgspec.Struct, frozen=True):
    """An interval: its widths where the spread is 1, the spread, and the widths of one that is `even` over all rows.

    `scores` are the mean Winkler scores of the kinds that were tried, on rows that their fits did not see.
    """

    widths: Widths
    spread: Spread
    even: Widths
    scores: dict[str, float]


def calibrate(
    dataset: Dataset, product: Product, rows: Index, predictions: Matrix, fill: Matrix, seed: int
) -> Calibration:
    """The interval by held-out `predictions` (repeats, rows) of `rows`; `fill` stands for missing values."""
    coverage = product.training.interval_coverage
    newest = _newest(dataset, product, rows)
    rows, predictions = rows[newest], predictions[:, newest]
    target, mean = dataset.target[rows], predictions.mean(axis=0)
    weights = None if dataset.weights is None else dataset.weights[rows]
    residuals = target - predictions
    columns = model_columns(dataset.features[rows], fill, dataset.schema, dataset.seconds[rows])
    errors = np.abs(residuals).mean(axis=0)

    def fitted(kind: Kind, places: Index) -> Spread:
        if len(places) > MOST_ROWS:
            places = np.random.default_rng(seed).permutation(places)[:MOST_ROWS]
        own = None if weights is None else weights[places]
        return _fit(kind, columns[places], mean[places], errors[places], own, seed)

    # The spreads of each kind, by fits that did not see the row; the rows before the first block of time have none.
    found: dict[Kind, Matrix] = {"constant": np.ones(len(rows))}
    kinds = _kinds(target, mean, errors)
    splits = _splits(dataset, product, rows, seed) if kinds else []
    for kind in kinds if splits else ():
        found[kind] = np.full(len(rows), np.nan)
        for train, test in splits:
            found[kind][test] = fitted(kind, train).of(columns[test], mean[test])
    held_out = np.flatnonzero(np.all([~np.isnan(own) for own in found.values()], axis=0))

    def widths_of(kind: Kind, places: Index) -> Widths:
        own = None if weights is None else weights[places]
        return widths(residuals[:, places] / found[kind][places], coverage, own)

    def score(kind: Kind) -> Matrix:
        own, spread = widths_of(kind, held_out), found[kind][held_out]
        middle = predictions[:, held_out]
        each = interval_scores(target[held_out], middle - own.low * spread, middle + own.high * spread, coverage)
        mean_score: Matrix = each.mean(axis=0)
        return mean_score

    row_weights = np.ones(len(held_out)) if weights is None else weights[held_out]
    scores = {kind: score(kind) for kind in found}
    kind = _choose(scores, row_weights)
    means = {str(name): float(np.average(own, weights=row_weights)) for name, own in scores.items()}
    even = widths_of("constant", np.arange(len(rows)))
    if kind == "constant":
        return Calibration(even, Spread(), even, means)
    scale = float(np.average(found[kind][held_out], weights=row_weights))
    chosen = fitted(kind, np.arange(len(rows)))
    found[kind] = found[kind] / scale
    chosen = msgspec.structs.replace(chosen, scale=chosen.scale / scale)
    return Calibration(widths_of(kind, held_out), chosen, even, means)


def _newest(dataset: Dataset, product: Product, rows: Index) -> Index:
    """Places of the rows to calibrate on: by time without the oldest, where the others are enough.

    The oldest were predicted from the fewest rows, and their errors are larger than those of the model that serves.
    """
    oldest = len(rows) // OLDEST
    if product.time.split != "time" or len(rows) - oldest < MIN_ROWS:
        return np.arange(len(rows))
    return np.sort(np.argsort(dataset.seconds[rows], kind="stable")[oldest:])


def _kinds(target: Matrix, predictions: Matrix, errors: Matrix) -> list[Kind]:
    """The kinds to try beside the constant one."""
    if len(target) < MIN_ROWS or not np.any(errors > 0):
        return []
    is_positive = target.min() > 0 and predictions.min() > 0
    return [kind for kind in KINDS[1:] if is_positive or "prediction" not in kind]


def _splits(dataset: Dataset, product: Product, rows: Index, seed: int) -> list[tuple[Index, Index]]:
    """Places in `rows` to fit a spread on, and to hold out, as the product splits rows; none where it cannot."""
    place = np.full(len(dataset.target), -1, np.intp)
    place[rows] = np.arange(len(rows))
    try:
        splits = split_rows(dataset, product, rows, FOLDS, seed)
    except SplitError:
        return []
    return [(place[train], place[test]) for train, test in splits if len(train) >= MIN_ROWS // 2]


def _fit(kind: Kind, columns: Matrix, predictions: Matrix, errors: Matrix, weights: Matrix | None, seed: int) -> Spread:
    floor = LEAST_PREDICTION * float(predictions.min()) if "prediction" in kind else 0.0
    if "trees" not in kind:
        return Spread(kind, floor=floor)
    relative = errors / np.maximum(predictions, floor) if "prediction" in kind else errors
    least = NEAR_ZERO * float(np.average(relative, weights=weights))
    trees = HistGradientBoostingRegressor(
        loss="quantile",
        quantile=SHARE,
        max_iter=TREES if len(errors) >= MANY_ROWS else FEW_TREES,
        max_leaf_nodes=LEAVES,
        learning_rate=LEARNING_RATE,
        min_samples_leaf=max(LEAST_LEAF, len(errors) // LEAF_SHARE),
        early_stopping=False,
        random_state=seed,
    )
    with threadpool_limits(1):
        trees.fit(columns, np.log(np.maximum(relative, least)), sample_weight=weights)
    return Spread(kind, floor=floor, trees=trees)


def _choose(scores: dict[Kind, Matrix], weights: Matrix) -> Kind:
    """The kind to take: each must be clearly better than the simpler one taken so far. Scores are (rows,)."""
    chosen: Kind = "constant"
    for kind, own in scores.items():
        gain = weights / weights.mean() * (scores[chosen] - own)
        needed = max(
            MARGIN * float(np.average(scores[chosen], weights=weights)), float(gain.std() / np.sqrt(len(gain)))
        )
        if kind != chosen and gain.mean() > needed:
            chosen = kind
    return chosen
