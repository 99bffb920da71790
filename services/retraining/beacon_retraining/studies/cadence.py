"""The cadence study: labelled history simulated day by day, with retrainings by several rules.

It shows how often to retrain, and how fast each feature loses its use for a model that is never retrained.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from beacon_core.domain.exit_statuses import BAD_DATA
from beacon_core.domain.product import Product
from beacon_core.model_package.recipe import Recipe
from beacon_retraining.data.dataset import Dataset, Matrix, Times
from beacon_retraining.errors import RetrainError
from beacon_retraining.training.fitting import FittedModel, fit

DAY = np.timedelta64(1, "D")
FIRST_SHARE = 0.15
"""Share of the history's days that the first model is trained on, beside the base data."""
MIN_DAYS = 30
SHUFFLES = 3


class HistoryError(RetrainError):
    """The history is too short for the study."""

    exit_status = BAD_DATA


class RetrainingRule(msgspec.Struct, frozen=True):
    """When to retrain: every so many days, on drift of the realised error, or never."""

    name: str
    days: int | None = None
    on_drift: bool = False


RETRAINING_RULES = (
    RetrainingRule("never"),
    RetrainingRule("30 days", 30),
    RetrainingRule("14 days", 14),
    RetrainingRule("7 days", 7),
    RetrainingRule("on drift", on_drift=True),
)


class StudyRun(msgspec.Struct, frozen=True):
    """One rule's run: each simulated row's absolute error (rows; target's unit), and the days of its retrainings."""

    rule: RetrainingRule
    errors: Matrix
    retrained: tuple[int, ...]

    @property
    def mae(self) -> float:
        """Over all simulated rows."""
        return float(self.errors.mean())


class CadenceStudy(msgspec.Struct, frozen=True):
    """All rules' runs over the same rows; `days` (rows) counts from `start`.

    `usefulness` is (periods, features): rise of the never retrained model's MAE when a feature's values are shuffled
    within a period of `period_days` days.
    """

    start: np.datetime64
    days: NDArray[np.int64]
    runs: tuple[StudyRun, ...]
    features: tuple[str, ...]
    period_days: int
    usefulness: Matrix


class StudyModel(msgspec.Struct, frozen=True):
    """A fitted model, and the mean absolute error to expect of it on rows of its own time."""

    fitted: FittedModel
    expected: float

    def predict(self, features: Matrix, seconds: Matrix) -> Matrix:
        """Predictions, shape (rows,)."""
        return self.fitted.predict(features, seconds)


def run_study(
    dataset: Dataset, product: Product, recipe: Recipe, *, period_days: int = 30, seed: int = 0
) -> CadenceStudy:
    """Simulate the history under every rule; raises `HistoryError` when it spans less than `MIN_DAYS` days.

    The history is what lies after the oldest event time, which is the base data's. Labels are known a day later.
    """
    if dataset.times is None or len(dataset.target) == 0:
        raise HistoryError("the rows carry no times")
    dated = dataset.times[dataset.times > dataset.times.min()]
    span = int((dated.max() - dated.min()) / DAY) + 1 if len(dated) else 0
    if span < MIN_DAYS:
        raise HistoryError(f"the labelled history spans {span} days, the study needs {MIN_DAYS}")
    start = np.datetime64(dated.min(), "D") + int(span * FIRST_SHARE)
    first = _fit(dataset, recipe, _before(dataset.times, start), seed)
    simulated = np.flatnonzero(dataset.times >= start)
    days = ((dataset.times[simulated] - start.astype("M8[us]")) // DAY).astype(np.int64)
    runs = tuple(
        _run(rule, first, dataset, product, recipe, dataset.times, start, simulated, days, seed)
        for rule in RETRAINING_RULES
    )
    usefulness = _usefulness_by_period(first, dataset, simulated, days // period_days, seed)
    return CadenceStudy(start, days, runs, product.feature_names, period_days, usefulness)


def rolling(days: NDArray[np.int64], errors: Matrix, window: int) -> tuple[NDArray[np.int64], Matrix]:
    """The days from `window` - 1 on, and the MAE of the last `window` days up to each of them (NaN without rows)."""
    count = int(days.max()) + 1
    sums = np.bincount(days, weights=errors, minlength=count).cumsum()
    rows = np.bincount(days, minlength=count).cumsum()
    over = sums[window - 1 :] - np.concatenate([[0.0], sums[:-window]])
    of = rows[window - 1 :] - np.concatenate([[0], rows[:-window]])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.arange(window - 1, count), over / of


def _run(
    rule: RetrainingRule,
    model: StudyModel,
    dataset: Dataset,
    product: Product,
    recipe: Recipe,
    times: Times,
    start: np.datetime64,
    simulated: NDArray[np.intp],
    days: NDArray[np.int64],
    seed: int,
) -> StudyRun:
    errors = np.empty(len(simulated))
    retrained: list[int] = []
    last = 0
    for day in range(int(days.max()) + 1):
        if _is_due(rule, product, model, days, errors, day, last):
            model = _fit(dataset, recipe, _before(times, start + day), seed)
            retrained.append(day)
            last = day
        today = np.flatnonzero(days == day)
        rows = simulated[today]
        if len(rows):
            errors[today] = np.abs(dataset.target[rows] - model.predict(dataset.features[rows], dataset.seconds[rows]))
    return StudyRun(rule, errors, tuple(retrained))


def _is_due(
    rule: RetrainingRule,
    product: Product,
    model: StudyModel,
    days: NDArray[np.int64],
    errors: Matrix,
    day: int,
    last: int,
) -> bool:
    """On drift: the error of the shortest window since the last retraining is above the limit of policy.yaml."""
    if rule.days is not None:
        return day - last >= rule.days
    if not rule.on_drift:
        return False
    window = min(product.policy.quality.windows_days)
    seen = (days < day) & (days >= max(last, day - window))
    if (
        int(seen.sum()) < product.policy.drift.min_labels
        or (day - last) * 24 < product.policy.retraining.cooldown_hours
    ):
        return False
    return float(errors[seen].mean()) > product.policy.drift.max_mae_ratio * model.expected


def _fit(dataset: Dataset, recipe: Recipe, rows: NDArray[np.intp], seed: int) -> StudyModel:
    """A model of these rows; its expected error is that of a second model, on a fifth of the rows held out from it."""
    shuffled = np.random.default_rng(seed).permutation(rows)
    known, held_out = np.split(shuffled, [len(rows) * 4 // 5])
    predictions = fit(recipe, dataset, seed, known).predict(dataset.features[held_out], dataset.seconds[held_out])
    expected = float(np.abs(dataset.target[held_out] - predictions).mean())
    return StudyModel(fit(recipe, dataset, seed, rows), expected)


def _before(times: Times, moment: np.datetime64) -> NDArray[np.intp]:
    return np.flatnonzero(times < moment)


def _usefulness_by_period(
    model: StudyModel, dataset: Dataset, simulated: NDArray[np.intp], periods: NDArray[np.int64], seed: int
) -> Matrix:
    random = np.random.default_rng(seed)
    width = dataset.features.shape[1]
    usefulness = np.full((int(periods.max()) + 1, width), np.nan)
    for period in range(len(usefulness)):
        rows = simulated[periods == period]
        if not len(rows):
            continue
        features, target, seconds = dataset.features[rows], dataset.target[rows], dataset.seconds[rows]
        plain = np.abs(target - model.predict(features, seconds)).mean()
        for column in range(width):
            rises = []
            for _ in range(SHUFFLES):
                mixed = features.copy()
                mixed[:, column] = random.permutation(mixed[:, column])
                rises.append(np.abs(target - model.predict(mixed, seconds)).mean() - plain)
            usefulness[period, column] = float(np.mean(rises))
    return usefulness
