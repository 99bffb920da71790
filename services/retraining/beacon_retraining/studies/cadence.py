"""Cadence: labelled history replayed day by day, as if the model had been retrained by this or that rule.

It answers how often to retrain, and how fast each feature loses its use for a model that is left alone.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from beacon_core.domain.exit_statuses import BAD_DATA
from beacon_core.domain.product import Product
from beacon_retraining.data.dataset import Dataset, Matrix, Times
from beacon_retraining.errors import RetrainError
from beacon_retraining.training.candidates import Candidate
from beacon_retraining.training.imputation import fit_fill, impute
from beacon_retraining.training.train import fit

DAY = np.timedelta64(1, "D")
FIRST_SHARE = 0.15
"""Share of the history's days that the first model may learn from, beside what has no later date."""
LEAST_DAYS = 30
SHUFFLES = 3


class HistoryError(RetrainError):
    """The history is too short to replay."""

    exit_status = BAD_DATA


class Rule(msgspec.Struct, frozen=True):
    """When to retrain: every so many days, on drift of the realised error, or never."""

    name: str
    days: int | None = None
    on_drift: bool = False


RULES = (
    Rule("never"),
    Rule("30 days", 30),
    Rule("14 days", 14),
    Rule("7 days", 7),
    Rule("on drift", on_drift=True),
)


class Replay(msgspec.Struct, frozen=True):
    """One rule's replay: each replayed row's absolute error (rows; target's unit), and the days of its retrainings."""

    rule: Rule
    errors: Matrix
    retrained: tuple[int, ...]

    @property
    def mae(self) -> float:
        """Over all replayed rows."""
        return float(self.errors.mean())


class Cadence(msgspec.Struct, frozen=True):
    """All rules' replays over the same rows; `days` (rows) counts from `start`.

    `useful` is (periods, features): rise of the MAE of the model that is left alone when a feature's values are
    shuffled within a period of `period_days` days.
    """

    start: np.datetime64
    days: NDArray[np.int64]
    replays: tuple[Replay, ...]
    features: tuple[str, ...]
    period_days: int
    useful: Matrix


class Model(msgspec.Struct, frozen=True):
    """A fitted model, its fill values, and the mean absolute error to expect of it on rows of its own time."""

    regressor: object
    fill: Matrix
    expected: float

    def answer(self, features: Matrix) -> Matrix:
        """Predictions, shape (rows,)."""
        answers: Matrix = self.regressor.predict(impute(features, self.fill))  # type: ignore[attr-defined]
        return answers


def replay_all(
    dataset: Dataset, product: Product, candidate: Candidate, *, period_days: int = 30, seed: int = 0
) -> Cadence:
    """Replay the history under every rule; raises `HistoryError` when it spans less than `LEAST_DAYS` days.

    The history is what lies after the oldest event time, which is the base data's. Labels are known a day later.
    """
    if dataset.times is None or len(dataset.target) == 0:
        raise HistoryError("the rows carry no times")
    dated = dataset.times[dataset.times > dataset.times.min()]
    span = int((dated.max() - dated.min()) / DAY) + 1 if len(dated) else 0
    if span < LEAST_DAYS:
        raise HistoryError(f"the labelled history spans {span} days, a replay needs {LEAST_DAYS}")
    start = np.datetime64(dated.min(), "D") + int(span * FIRST_SHARE)
    first = _fit(dataset, product, candidate, _before(dataset.times, start), seed)
    replayed = np.flatnonzero(dataset.times >= start)
    days = ((dataset.times[replayed] - start.astype("M8[us]")) // DAY).astype(np.int64)
    replays = tuple(
        _replay(rule, first, dataset, product, candidate, dataset.times, start, replayed, days, seed) for rule in RULES
    )
    useful = _usefulness(first, dataset, replayed, days // period_days, seed)
    return Cadence(start, days, replays, product.feature_names, period_days, useful)


def rolling(days: NDArray[np.int64], errors: Matrix, window: int) -> tuple[NDArray[np.int64], Matrix]:
    """The days from `window` - 1 on, and the MAE of the last `window` days up to each of them (NaN without rows)."""
    count = int(days.max()) + 1
    sums = np.bincount(days, weights=errors, minlength=count).cumsum()
    rows = np.bincount(days, minlength=count).cumsum()
    over = sums[window - 1 :] - np.concatenate([[0.0], sums[:-window]])
    of = rows[window - 1 :] - np.concatenate([[0], rows[:-window]])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.arange(window - 1, count), over / of


def _replay(
    rule: Rule,
    model: Model,
    dataset: Dataset,
    product: Product,
    candidate: Candidate,
    times: Times,
    start: np.datetime64,
    replayed: NDArray[np.intp],
    days: NDArray[np.int64],
    seed: int,
) -> Replay:
    errors = np.empty(len(replayed))
    retrained: list[int] = []
    last = 0
    for day in range(int(days.max()) + 1):
        if _due(rule, product, model, days, errors, day, last):
            model = _fit(dataset, product, candidate, _before(times, start + day), seed)
            retrained.append(day)
            last = day
        today = np.flatnonzero(days == day)
        rows = replayed[today]
        if len(rows):
            errors[today] = np.abs(dataset.target[rows] - model.answer(dataset.features[rows]))
    return Replay(rule, errors, tuple(retrained))


def _due(
    rule: Rule, product: Product, model: Model, days: NDArray[np.int64], errors: Matrix, day: int, last: int
) -> bool:
    """On drift: as policy.yaml has it, the error of the shortest window since the last retraining is too high."""
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


def _fit(dataset: Dataset, product: Product, candidate: Candidate, rows: NDArray[np.intp], seed: int) -> Model:
    """A model of these rows; its expected error is that of a twin on a fifth of them that the twin has not seen."""
    features, target = dataset.features[rows], dataset.target[rows]
    shuffled = np.random.default_rng(seed).permutation(len(rows))
    known, held = np.split(shuffled, [len(rows) * 4 // 5])
    fill = fit_fill(features, product)
    twin = fit(candidate, impute(features[known], fill), target[known], seed)
    expected = float(np.abs(target[held] - twin.predict(impute(features[held], fill))).mean())
    return Model(fit(candidate, impute(features, fill), target, seed), fill, expected)


def _before(times: Times, moment: np.datetime64) -> NDArray[np.intp]:
    return np.flatnonzero(times < moment)


def _usefulness(
    model: Model, dataset: Dataset, replayed: NDArray[np.intp], periods: NDArray[np.int64], seed: int
) -> Matrix:
    random = np.random.default_rng(seed)
    width = dataset.features.shape[1]
    useful = np.full((int(periods.max()) + 1, width), np.nan)
    for period in range(len(useful)):
        rows = replayed[periods == period]
        if not len(rows):
            continue
        features, target = dataset.features[rows], dataset.target[rows]
        plain = np.abs(target - model.answer(features)).mean()
        for column in range(width):
            rises = []
            for _ in range(SHUFFLES):
                mixed = features.copy()
                mixed[:, column] = random.permutation(mixed[:, column])
                rises.append(np.abs(target - model.answer(mixed)).mean() - plain)
            useful[period, column] = float(np.mean(rises))
    return useful
