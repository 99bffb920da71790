"""Cross-validation: held-out predictions of model specs, each fold with its own imputation, on all cores.

Every figure of a model is counted here, on rows that its fit has not seen: the search, the interval, the
importances, what missing values cost, and the verdict.
"""

from collections.abc import Callable, Iterable, Sequence

import msgspec
import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.model_selection import KFold
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from beacon_core.domain.product import Product
from beacon_retraining.data.dataset import Dataset, Matrix
from beacon_retraining.training.imputation import fit_fill, impute
from beacon_retraining.training.interval import Widths, widths
from beacon_retraining.training.model_specs import ModelSpec

Index = NDArray[np.intp]
Split = tuple[Index, Index]
PREDICTION_BATCH_ROWS = 2000
"""Rows: a call has overhead, and a kernel's matrix is as wide as the training rows."""
View = Callable[[Matrix, Index], Matrix]
"""A variant of the held-out rows: (all features, the rows' numbers) -> their features, changed."""


class Task(msgspec.Struct, frozen=True):
    """Fit `spec` to the split's first rows, predict its second ones: as they are, then by each view."""

    spec: ModelSpec
    split: Split
    views: tuple[View, ...] = ()


class FoldPredictions(msgspec.Struct, frozen=True):
    """Held-out rows: their numbers, `predictions` (1 + views, rows), and the interval's widths.

    The widths come from residuals inside the training part: the rows set neither the model nor the widths.
    """

    rows: Index
    predictions: Matrix
    widths: Widths


def fit_all(
    dataset: Dataset, product: Product, tasks: Sequence[Task], seed: int, jobs: int, title: str
) -> list[Matrix]:
    """Each task's predictions, shape (1 + views, held-out rows), in order, with a progress bar on a terminal."""
    calls = (delayed(_fit_one)(dataset, product, seed, task) for task in tasks)
    answers: Iterable[Matrix] = Parallel(n_jobs=jobs, return_as="generator", batch_size=1)(calls)
    return list(tqdm(answers, total=len(tasks), desc=title, unit="fit", leave=False, disable=None))


def hold_out(
    dataset: Dataset,
    product: Product,
    spec: ModelSpec,
    splits: Sequence[Split],
    *,
    views: tuple[View, ...] = (),
    inner_folds: int = 5,
    seed: int = 0,
    jobs: int = -1,
    title: str = "held out",
) -> list[FoldPredictions]:
    """For each split its held-out predictions, with the widths of an inner cross-validation of its training part."""
    inner = KFold(inner_folds, shuffle=True, random_state=seed + 1)
    tasks: list[Task] = []
    for train, test in splits:
        tasks.append(Task(spec, (train, test), views))
        tasks += [Task(spec, (train[a], train[b])) for a, b in inner.split(train)]
    answers = iter(fit_all(dataset, product, tasks, seed, jobs, title))
    parts = []
    for train, test in splits:
        predictions = next(answers)
        residuals = [dataset.target[train[b]] - next(answers)[0] for _, b in inner.split(train)]
        interval = widths(np.concatenate(residuals), product.training.interval_coverage)
        parts.append(FoldPredictions(test, predictions, interval))
    return parts


def folds(rows: int, count: int, seed: int) -> list[Split]:
    """`count` shuffled folds over `rows` rows."""
    return list(KFold(count, shuffle=True, random_state=seed).split(np.empty(rows)))


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


def _fit_one(dataset: Dataset, product: Product, seed: int, task: Task) -> Matrix:
    train, test = task.split
    fill = fit_fill(dataset.features[train], product)
    with threadpool_limits(1):  # the last bits of a matrix product depend on the number of threads
        model = task.spec.build(seed).fit(impute(dataset.features[train], fill), dataset.target[train])
        variants = [dataset.features[test], *(view(dataset.features, test) for view in task.views)]
        rows = impute(np.concatenate(variants), fill)
        answers = [model.predict(part) for part in np.array_split(rows, -(-len(rows) // PREDICTION_BATCH_ROWS))]
        return np.concatenate(answers).reshape(len(variants), len(test))
