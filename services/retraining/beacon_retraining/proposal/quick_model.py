"""A quick model of a table: how well the target can be predicted, by which columns, and which column gives it away."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from beacon_core.domain.product_entry import Training
from beacon_retraining.proposal.table_column import Matrix, TableColumn

MOST_CELLS = 2_000_000
MOST_ROWS = 20_000
MOST_TESTED = 2000
FEW_ROWS = 2000
"""Of no more rows each one is held out once."""
FOLDS = 3
EXACT_SHARE, ANY_RATIO = 1e-3, 1e12
"""An error that is a smaller share of the target's spread is as good as none; then no ratio tells anything."""
Rows = slice | NDArray[np.int64]
MOST_BINS = 254
LEAK_RANKS = 0.995
"""A rank correlation with the target above this, and `LEAK_R2`, make a leak."""
LEAK_R2 = 0.98
SUSPECT_R2 = 0.95
DAY_SECONDS = 86_400.0
YEAR_DAYS = 365.2425
FEWEST_RANKED = 10
MISSING_SHARE = 0.1
BETTER = 0.4
"""The squared error of the model that will be trained, as a share of the quick one's: so good it may become."""


class QuickModel(msgspec.Struct, frozen=True):
    """Its figures on held-out rows.

    They are R2, absolute residuals (target's unit), importances (rise of the squared error) and `missing_ratio`: how
    many times as large the error of a better model may be with a tenth of the values missing. `coverage` is the share
    of rows inside an interval of the usual coverage, where rows are held out by time.
    """

    r2: float
    residuals: Matrix
    importances: dict[str, float]
    missing_ratio: float
    coverage: float | None = None

    def ranked(self) -> list[str]:
        """The columns that matter, the most important first."""
        return [name for name, rise in sorted(self.importances.items(), key=lambda item: -item[1]) if rise > 0]


class Closeness(msgspec.Struct, frozen=True):
    """How closely one column tells the target: rank correlation (0 to 1), and R2 of a tree on rows it has not seen."""

    ranks: float
    r2: float

    @property
    def is_leak(self) -> bool:
        """Whether the column holds the answer."""
        return self.ranks >= LEAK_RANKS and self.r2 >= LEAK_R2


def closeness(column: TableColumn, target: TableColumn) -> Closeness:
    """Compare a column with the target, on the sampled rows that have both."""
    from sklearn.tree import DecisionTreeRegressor  # noqa: PLC0415 - it takes seconds; a mistake in the table comes first

    both = ~np.isnan(column.values) & ~np.isnan(target.values)
    values, answers = column.values[both][:MOST_ROWS], target.values[both][:MOST_ROWS]
    if len(values) < FEWEST_RANKED or not np.ptp(values) or not np.ptp(answers):
        return Closeness(0.0, 0.0)
    ordered = column.is_measured or column.is_time or column.kind == "bool"
    ranks = _rank_correlation(values, answers) if ordered else 0.0
    if ranks < 0.8 and ordered:
        return Closeness(ranks, 0.0)
    train, test = _halves(len(values))
    if not ordered:
        return _by_levels(values, answers, train, test)
    tree = DecisionTreeRegressor(min_samples_leaf=2, random_state=0).fit(values[train, None], answers[train])
    return Closeness(ranks, _r2(answers[test], tree.predict(values[test, None])))


def _by_levels(values: Matrix, answers: Matrix, train: NDArray[np.int64], test: NDArray[np.int64]) -> Closeness:
    """How well the levels' mean targets in the other half of the rows tell the target."""
    _, levels = np.unique(values, return_inverse=True)
    counts = np.bincount(levels[train], minlength=levels.max() + 1)
    test = test[counts[levels[test]] > 0]
    if len(test) < FEWEST_RANKED:
        return Closeness(0.0, 0.0)
    means = np.bincount(levels[train], answers[train], minlength=len(counts)) / np.maximum(counts, 1)
    told = means[levels[test]]
    return Closeness(_rank_correlation(told, answers[test]), _r2(answers[test], told))


def fit_quick(
    columns: Sequence[TableColumn], target: TableColumn, *, by_time: Matrix | None, event: str | None = None
) -> QuickModel:
    """Fit on the sampled rows but those held out, as training will: by chance, or by the times `by_time` in blocks.

    The columns' importances are those of the last fit.
    """
    rows = np.flatnonzero(~np.isnan(target.values))
    most = max(min(MOST_ROWS, MOST_CELLS // max(len(columns), 1)), 200)
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(0).choice(rows, most, replace=False))
    if by_time is not None:
        rows = rows[np.argsort(by_time[rows], kind="stable")]
    else:
        rows = np.random.default_rng(0).permutation(rows)
    features, categories = _matrix(columns, event)
    features, answers = features[rows], target.values[rows]
    splits = _splits(len(rows), by_time=by_time is not None)
    held_out: list[Matrix] = []
    inside: list[NDArray[np.bool_]] = []
    with threadpool_limits(1):
        for train, test in splits:
            model = _boosted(features[train], answers[train], categories)
            held_out.append(answers[test] - model.predict(features[test]))
            if by_time is not None:
                inside.append(np.abs(held_out[-1]) <= _width(features[train], answers[train], categories))
        error = float(np.mean(held_out[-1] ** 2))
        places = _places(columns, event)
        importances = {
            column.name: _rise(model, features[test], answers[test], own, error)
            for column, own in zip(columns, places, strict=True)
        }
        thin = _thinned(features[train], features[test], categories)
        risen = max(float(np.mean((answers[test] - model.predict(thin)) ** 2)) - error, 0.0)
    ratio = float(np.sqrt(1 + risen / (BETTER * error))) if error else 1.0
    plain = [at for at in range(features.shape[1]) if at not in categories]
    ratio = max(ratio, _linear_ratio(features[:, plain], answers, train, test, thin[:, plain]))
    known = np.concatenate([answers[test] for _, test in splits])
    residuals = np.concatenate(held_out)
    coverage = float(np.mean(np.concatenate(inside))) if inside else None
    return QuickModel(_r2(known, known - residuals), np.abs(residuals), importances, ratio, coverage)


def _splits(count: int, *, by_time: bool) -> list[tuple[Rows, Rows]]:
    """Rows to fit and rows to hold out: by time each block from what came before it; of many rows the last quarter."""
    if by_time:
        ends = [max(count * block // (FOLDS + 1), 1) for block in range(1, FOLDS + 2)]
        return [(slice(0, a), slice(a, b)) for a, b in pairwise(ends) if b > a]
    if count > FEW_ROWS:
        cut = count * 3 // 4
        return [(slice(0, cut), slice(cut, cut + MOST_TESTED))]
    places = np.arange(count)
    return [(np.flatnonzero(places % 4 != part), np.flatnonzero(places % 4 == part)) for part in range(min(4, count))]


def _boosted(features: Matrix, answers: Matrix, categories: Sequence[int]) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor  # noqa: PLC0415 - it takes seconds, as above

    return HistGradientBoostingRegressor(
        categorical_features=list(categories),
        min_samples_leaf=max(2, min(20, len(answers) // 20)),
        learning_rate=0.1,
        max_iter=100,
        early_stopping=False,
        random_state=0,
    ).fit(features, answers)


def _width(features: Matrix, answers: Matrix, categories: Sequence[int]) -> float:
    """Half of an interval of the usual coverage, from the newest fifth of the rows."""
    cut = max(len(answers) * 4 // 5, 1)
    newest = slice(cut, None)
    if cut == len(answers):
        return 0.0
    residuals = answers[newest] - _boosted(features[:cut], answers[:cut], categories).predict(features[newest])
    return float(np.quantile(np.abs(residuals), Training().interval_coverage))


def _matrix(columns: Sequence[TableColumn], event: str | None) -> tuple[Matrix, list[int]]:
    parts: list[Matrix] = []
    categories: list[int] = []
    for column in columns:
        if column.is_time:
            days = column.values if column.kind == "date" else column.values / DAY_SECONDS
            # As `parts` of features.py: a model does not know years to come, so the event's own is left out.
            parts += [] if column.name == event else [days]
            parts += [*_cycle(days / YEAR_DAYS), np.floor(days) % 7]
            parts += _cycle(days) if column.kind == "timestamp" else []
            continue
        if column.kind in {"category", "many"}:
            categories.append(len(parts))
            parts.append(_most_frequent(column.values))
            continue
        parts.append(column.values)
    return np.column_stack(parts), categories


def _thinned(train: Matrix, test: Matrix, categories: Sequence[int]) -> Matrix:
    """The test rows with a tenth of the values replaced as imputation will: the median, or the most frequent level."""
    fill = np.array([0.0 if at in categories else _median(train[:, at]) for at in range(train.shape[1])])
    gone = np.random.default_rng(0).random(test.shape) < MISSING_SHARE
    return np.where(gone, fill, test)


def _linear_ratio(features: Matrix, answers: Matrix, train: Rows, test: Rows, thin: Matrix) -> float:
    """How many times as large a linear model's error is with values missing.

    Columns that add up to the target make it far better than any tree, and their gaps far worse.
    """
    if not features.shape[1]:
        return 1.0
    middle = np.array([_median(column) for column in features[train].T])
    spread = np.array(
        [np.nanstd(column) if len(column) > np.isnan(column).sum() else 0.0 for column in features[train].T]
    )
    parts = [
        np.nan_to_num((each - middle) / np.where(spread > 0, spread, 1.0))
        for each in (features[train], features[test], thin)
    ]
    fit, full, thinned = (np.column_stack([part, np.ones(len(part))]) for part in parts)
    weights = np.linalg.lstsq(fit, answers[train], rcond=None)[0]
    errors = [float(np.sqrt(np.mean((answers[test] - each @ weights) ** 2))) for each in (full, thinned)]
    is_exact = errors[0] <= EXACT_SHARE * float(np.std(answers[test]))
    return ANY_RATIO if is_exact else errors[1] / errors[0]


def _median(values: Matrix) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else 0.0


def _cycle(turns: Matrix) -> list[Matrix]:
    angle = 2 * np.pi * (turns % 1)
    return [np.sin(angle), np.cos(angle)]


def _places(columns: Sequence[TableColumn], event: str | None) -> list[list[int]]:
    """The matrix's columns of each column."""
    places: list[list[int]] = []
    at = 0
    for column in columns:
        width = 1
        if column.is_time:
            width = 3 + (column.name != event) + 2 * (column.kind == "timestamp")
        places.append(list(range(at, at + width)))
        at += width
    return places


def _most_frequent(codes: Matrix) -> Matrix:
    """The most frequent codes, numbered from 0; the rest is missing."""
    known, inverse, counts = np.unique(codes[~np.isnan(codes)], return_inverse=True, return_counts=True)
    order = np.full(len(known), np.nan)
    kept = np.argsort(-counts, kind="stable")[:MOST_BINS]
    order[kept] = np.arange(len(kept))
    found = np.full(len(codes), np.nan)
    found[~np.isnan(codes)] = order[inverse]
    return found


def _rise(model: Any, features: Matrix, answers: Matrix, places: list[int], error: float) -> float:
    shuffled = features.copy()
    shuffled[:, places] = np.random.default_rng(0).permutation(shuffled[:, places])
    return float(np.mean((answers - model.predict(shuffled)) ** 2)) - error


def _rank_correlation(values: Matrix, answers: Matrix) -> float:
    """Spearman's, without its sign."""
    if not np.ptp(values) or not np.ptp(answers):
        return 0.0
    return abs(float(np.corrcoef(_ranks(values), _ranks(answers))[0, 1]))


def _ranks(values: Matrix) -> Matrix:
    """The rank of each value; equal ones share the mean of theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Matrix = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return ranks


def _halves(count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    order = np.random.default_rng(0).permutation(count)
    return order[: count // 2], order[count // 2 :]


def _r2(answers: Matrix, predictions: Matrix) -> float:
    spread = float(np.sum((answers - answers.mean()) ** 2))
    return 1 - float(np.sum((answers - predictions) ** 2)) / spread if spread else 0.0
