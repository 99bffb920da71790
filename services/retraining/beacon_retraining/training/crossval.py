"""Cross-validation: held-out predictions of model specs, each fold with its own imputation, on all cores.

Every figure of a model is counted here, on rows that its fit has not seen: the search, the interval, the
importances, what missing values cost, and the verdict.
"""

from collections.abc import Callable, Iterable, Sequence

import msgspec
import numpy as np
from joblib import Parallel, delayed
from tqdm import tqdm

from beacon_core.domain.product import Product
from beacon_retraining.data.dataset import Dataset, Matrix
from beacon_retraining.training.fitting import fit
from beacon_retraining.training.interval import Widths, widths
from beacon_retraining.training.model_specs import ModelSpec
from beacon_retraining.training.splits import Index, Split, inner_splits

View = Callable[[Matrix, Index], Matrix]
"""A variant of the held-out rows: (all features, the rows' numbers) -> their features, changed."""


class Task(msgspec.Struct, frozen=True):
    """Fit `spec` to the split's first rows, predict its second ones: as they are, then by each view.

    `few_views` are of the first `few_rows` of the held-out rows only, or of all (None).
    """

    spec: ModelSpec
    split: Split
    views: tuple[View, ...] = ()
    few_views: tuple[View, ...] = ()
    few_rows: int | None = None


class TaskResult(msgspec.Struct, frozen=True):
    """A task's predictions: (1 + views, held-out rows), and (few views, few rows)."""

    predictions: Matrix
    few: Matrix


class FoldPredictions(msgspec.Struct, frozen=True):
    """Held-out rows: their numbers, `predictions` (1 + views, rows), and the interval's widths.

    `few` (few views, few rows) are of the first of the rows. The widths come from residuals inside the training part:
    the rows set neither the model nor the widths.
    """

    rows: Index
    predictions: Matrix
    widths: Widths
    few: Matrix


def fit_all(dataset: Dataset, tasks: Sequence[Task], seed: int, jobs: int, title: str) -> list[TaskResult]:
    """Each task's predictions, in order, with a progress bar on a terminal."""
    calls = (delayed(_fit_one)(dataset, seed, task) for task in tasks)
    answers: Iterable[TaskResult] = Parallel(n_jobs=jobs, return_as="generator", batch_size=1)(calls)
    return list(tqdm(answers, total=len(tasks), desc=title, unit="fit", leave=False, disable=None))


def hold_out(
    dataset: Dataset,
    product: Product,
    spec: ModelSpec,
    splits: Sequence[Split],
    *,
    views: tuple[View, ...] = (),
    few_views: tuple[View, ...] = (),
    few_rows: int | None = None,
    inner_folds: int = 5,
    seed: int = 0,
    jobs: int = -1,
    title: str = "held out",
) -> list[FoldPredictions]:
    """For each split its held-out predictions, with the widths of an inner cross-validation of its training part."""
    inner = [inner_splits(dataset, product, train, inner_folds, seed + 1) for train, _ in splits]
    tasks: list[Task] = []
    for split, inside in zip(splits, inner, strict=True):
        tasks.append(Task(spec, split, views, few_views, few_rows))
        tasks += [Task(spec, part) for part in inside]
    answers = iter(fit_all(dataset, tasks, seed, jobs, title))
    parts = []
    for (_, test), inside in zip(splits, inner, strict=True):
        found = next(answers)
        residuals = [dataset.target[held] - next(answers).predictions[0] for _, held in inside]
        held_rows = np.concatenate([held for _, held in inside])
        weights = None if dataset.weights is None else dataset.weights[held_rows]
        interval = widths(np.concatenate(residuals), product.training.interval_coverage, weights)
        parts.append(FoldPredictions(test, found.predictions, interval, found.few))
    return parts


def thinned(share: float, seed: int) -> View:
    """A view in which each value is missing with probability `share`; which ones does not depend on the rows."""

    def view(features: Matrix, rows: Index) -> Matrix:
        gone = np.random.default_rng(seed).random(features.shape) < share
        return np.where(gone, np.nan, features)[rows]

    return view


def without(column: int) -> View:
    """A view in which one feature is always missing."""

    def view(features: Matrix, rows: Index) -> Matrix:
        changed = features[rows]
        changed[:, column] = np.nan
        return changed

    return view


def shuffled(column: int, seed: int) -> View:
    """A view in which one feature's values have changed places among the rows."""

    def view(features: Matrix, rows: Index) -> Matrix:
        changed = features[rows]
        changed[:, column] = np.random.default_rng(seed).permutation(changed[:, column])
        return changed

    return view


def _fit_one(dataset: Dataset, seed: int, task: Task) -> TaskResult:
    train, test = task.split
    model = fit(task.spec, dataset, seed, train)
    few = test[: task.few_rows]

    def predictions(rows: Index, variants: list[Matrix]) -> Matrix:
        if not variants:
            return np.empty((0, len(rows)))
        seconds = np.tile(dataset.seconds[rows], len(variants))
        return model.predict(np.concatenate(variants), seconds).reshape(len(variants), len(rows))

    whole = [dataset.features[test], *(view(dataset.features, test) for view in task.views)]
    return TaskResult(predictions(test, whole), predictions(few, [v(dataset.features, few) for v in task.few_views]))
