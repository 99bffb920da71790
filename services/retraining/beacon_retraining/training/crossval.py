"""Cross-validation: held-out predictions of recipes, each fold with its own imputation, on all cores.

Every figure of a model is counted here, on rows that its fit has not seen: the search, the interval, the
importances, what missing values cost, and the verdict.
"""

import time
from collections.abc import Callable, Iterable, Sequence

import msgspec
import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from beacon_core.domain.product import Product
from beacon_core.model_package.recipe import Recipe
from beacon_core.platform.progress import Progress
from beacon_retraining.data.dataset import Dataset, Matrix
from beacon_retraining.training.batches import batches
from beacon_retraining.training.fitting import fit
from beacon_retraining.training.imputation import fit_fill, model_columns
from beacon_retraining.training.interval import Widths, covered
from beacon_retraining.training.splits import Index, Split, inner_splits
from beacon_retraining.training.spread import Kind, calibrate

BATCH_ROWS = 20_000
View = Callable[[Matrix, Index], Matrix]
"""A variant of the held-out rows: (all features, the rows' numbers) -> their features, changed."""


class Task(msgspec.Struct, frozen=True):
    """Fit `recipe` to the split's first rows, predict its second ones: as they are, then by each view.

    `few_views` are of the first `few_rows` of the held-out rows only, or of all (None).
    """

    recipe: Recipe
    split: Split
    views: tuple[View, ...] = ()
    few_views: tuple[View, ...] = ()
    few_rows: int | None = None


class TaskResult(msgspec.Struct, frozen=True):
    """A task's predictions: (1 + views, held-out rows), and (few views, few rows); the seconds of one core it took."""

    predictions: Matrix
    few: Matrix
    seconds: float = 0.0


class FoldPredictions(msgspec.Struct, frozen=True):
    """Held-out rows: their numbers, `predictions` (1 + views, rows), the interval's widths and the rows' `spread`.

    `few` (few views, few rows) are of the first of the rows. Widths and spread (rows,) come from residuals inside the
    training part: the rows set neither the model nor the interval. `even` are the widths without a spread, whose
    `kind` says what it follows.
    """

    rows: Index
    predictions: Matrix
    widths: Widths
    few: Matrix
    spread: Matrix
    even: Widths
    kind: Kind

    @property
    def low(self) -> Matrix:
        """The intervals' lower ends (rows,)."""
        low: Matrix = self.predictions[0] - self.widths.low * self.spread
        return low

    @property
    def high(self) -> Matrix:
        """The intervals' upper ends (rows,)."""
        high: Matrix = self.predictions[0] + self.widths.high * self.spread
        return high

    def covered(self, target: Matrix) -> NDArray[np.bool_]:
        """Whether each target (rows,) lies in its interval."""
        return covered((target - self.predictions[0]) / self.spread, self.widths)


def fit_all(dataset: Dataset, tasks: Sequence[Task], seed: int, jobs: int, title: str) -> list[TaskResult]:
    """Each task's predictions, in order, logging the progress."""
    # An entry point's estimators have processes of their own: threads can wait for them.
    own = any(task.recipe.entry_point is not None for task in tasks)
    calls = (delayed(fit_one)(dataset, seed, task) for task in tasks)
    answers: Iterable[TaskResult] = Parallel(
        n_jobs=jobs, backend="threading" if own else None, return_as="generator", batch_size=1
    )(calls)
    shown, made = Progress(title, len(tasks), "fits"), []
    for answer in answers:
        made.append(answer)
        shown.show(len(made))
    return made


def hold_out(
    dataset: Dataset,
    product: Product,
    recipe: Recipe,
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
    """For each split its held-out predictions, with the intervals of an inner cross-validation of its training part."""
    inner = [inner_splits(dataset, product, train, inner_folds, seed + 1) for train, _ in splits]
    tasks: list[Task] = []
    for split, inside in zip(splits, inner, strict=True):
        tasks.append(Task(recipe, split, views, few_views, few_rows))
        tasks += [Task(recipe, part) for part in inside]
    answers = iter(fit_all(dataset, tasks, seed, jobs, title))
    parts = []
    for (train, test), inside in zip(splits, inner, strict=True):
        found = next(answers)
        held_rows = np.concatenate([held for _, held in inside])
        held_out = np.concatenate([next(answers).predictions[0] for _ in inside])
        fill = fit_fill(dataset.features[train], dataset.schema)
        interval = calibrate(dataset, product, held_rows, held_out[None], fill, seed)
        columns = model_columns(dataset.features[test], fill, dataset.schema, dataset.seconds[test])
        spread = interval.spread.of(columns, found.predictions[0])
        parts.append(
            FoldPredictions(
                test, found.predictions, interval.widths, found.few, spread, interval.even, interval.spread.kind
            )
        )
    return parts


def thinned(share: float, seed: int) -> View:
    """A view in which each value is missing with probability `share`; which ones does not depend on the rows."""

    def view(features: Matrix, rows: Index) -> Matrix:
        random, changed = np.random.default_rng(seed), features[rows]
        place = np.full(len(features), -1, np.intp)
        place[rows] = np.arange(len(rows))
        for part in batches(len(features), BATCH_ROWS):
            gone = random.random(features[part].shape) < share
            own = place[part]
            changed[own[own >= 0]] = np.where(gone, np.nan, features[part])[own >= 0]
        return changed

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


def fit_one(dataset: Dataset, seed: int, task: Task) -> TaskResult:
    """One task, on one thread."""
    start = time.thread_time()
    train, test = task.split
    model = fit(task.recipe, dataset, seed, train)
    few = test[: task.few_rows]

    def predictions(rows: Index, variants: list[Matrix]) -> Matrix:
        if not variants:
            return np.empty((0, len(rows)))
        seconds = np.tile(dataset.seconds[rows], len(variants))
        return model.predict(np.concatenate(variants), seconds).reshape(len(variants), len(rows))

    whole = [dataset.features[test], *(view(dataset.features, test) for view in task.views)]
    held_out = predictions(test, whole)
    fewer = predictions(few, [view(dataset.features, few) for view in task.few_views])
    return TaskResult(held_out, fewer, time.thread_time() - start)
