"""Train: compare the candidates by repeated cross-validation, fit the best on all rows, size its interval.

Imputation is fitted inside every fold. Everything is seeded: equal data and settings give an equal model.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.inspection import permutation_importance
from sklearn.model_selection import KFold, RepeatedKFold
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from beacon_core.product import Product
from beacon_retrain.candidates import CANDIDATES, Candidate
from beacon_retrain.dataset import Dataset, Matrix
from beacon_retrain.imputation import fit_fill, impute
from beacon_retrain.interval import Widths, covered, widths

Index = NDArray[np.intp]
Split = tuple[Index, Index]


class TrainSettings(msgspec.Struct, frozen=True):
    """How thorough the search is; `jobs` processes, -1 for one a core."""

    folds: int = 10
    repeats: int = 3
    coverage_folds: int = 5
    seed: int = 0
    jobs: int = -1
    candidates: tuple[str, ...] = tuple(candidate.name for candidate in CANDIDATES)


class Result(msgspec.Struct, frozen=True):
    """One candidate's cross-validation: means over the folds and their spread (standard deviation), target's unit.

    `held_out` are the predictions, shape (repeats, rows); `pooled_rmse` is over all of them at once.
    """

    name: str
    rmse: float
    rmse_spread: float
    pooled_rmse: float
    mae: float
    mae_spread: float
    r2: float
    r2_spread: float
    held_out: Matrix


class Trained(msgspec.Struct, frozen=True):
    """The chosen model, fitted on all rows, with everything that the package says of it."""

    candidate: str
    model: Any
    fill: Matrix
    results: tuple[Result, ...]
    widths: Widths
    measured_coverage: float
    importances: Matrix

    @property
    def result(self) -> Result:
        """The chosen candidate's cross-validation."""
        return next(result for result in self.results if result.name == self.candidate)


def train(dataset: Dataset, product: Product, settings: TrainSettings) -> Trained:
    """Choose the candidate of the lowest RMSE, measure its interval on held-out rows, fit it on all rows."""
    positive = bool(dataset.target.min() > 0)
    chosen = [
        candidate
        for candidate in CANDIDATES
        if candidate.name in settings.candidates and (positive or not candidate.log_target)
    ]
    results = compare(dataset, product, settings, chosen)
    best = min(results, key=lambda result: result.rmse)
    candidate = next(candidate for candidate in chosen if candidate.name == best.name)
    fill = fit_fill(dataset.features, product)
    features = impute(dataset.features, fill)
    with threadpool_limits(1):  # the last bits of a matrix product depend on the number of threads
        model = candidate.build(settings.seed).fit(features, dataset.target)
        importances = permutation_importance(
            model,
            features,
            dataset.target,
            scoring="neg_root_mean_squared_error",
            n_repeats=5,
            random_state=settings.seed,
        ).importances_mean
    return Trained(
        candidate=candidate.name,
        model=model,
        fill=fill,
        results=results,
        widths=widths(dataset.target - best.held_out, product.serving.interval_coverage),
        measured_coverage=measure_coverage(dataset, product, settings, candidate),
        importances=importances,
    )


def compare(
    dataset: Dataset, product: Product, settings: TrainSettings, candidates: list[Candidate]
) -> tuple[Result, ...]:
    """Cross-validate the candidates, all on the same folds."""
    rows = len(dataset.target)
    splitter = RepeatedKFold(n_splits=settings.folds, n_repeats=settings.repeats, random_state=settings.seed)
    splits: list[Split] = list(splitter.split(dataset.features))
    fitted = [candidate for candidate in candidates if not candidate.blend_of]
    tasks = [(candidate, split) for candidate in fitted for split in splits]
    answers = _fit_all(dataset, product, settings, tasks, "cross-validation")
    held_out = {candidate.name: np.empty((settings.repeats, rows)) for candidate in fitted}
    for number, ((candidate, (_, test)), answer) in enumerate(zip(tasks, answers, strict=True)):
        held_out[candidate.name][number % len(splits) // settings.folds, test] = answer
    for candidate in candidates:
        if candidate.blend_of:
            logs = [weight * np.log(held_out[member]) for member, weight in candidate.blend_of]
            held_out[candidate.name] = np.exp(np.sum(logs, axis=0))
    return tuple(
        _score(candidate.name, held_out[candidate.name], dataset.target, splits, settings.folds)
        for candidate in candidates
    )


def measure_coverage(dataset: Dataset, product: Product, settings: TrainSettings, candidate: Candidate) -> float:
    """The share of rows inside their interval, each row held out of both the model and the widths.

    Nested: within the rows of each outer fold's training part, an inner cross-validation sets the widths.
    """
    outer = KFold(settings.coverage_folds, shuffle=True, random_state=settings.seed)
    inner = KFold(settings.coverage_folds, shuffle=True, random_state=settings.seed + 1)
    outer_splits: list[Split] = list(outer.split(dataset.features))
    groups = [[(train, test), *((train[a], train[b]) for a, b in inner.split(train))] for train, test in outer_splits]
    tasks = [(candidate, split) for group in groups for split in group]
    answers = iter(_fit_all(dataset, product, settings, tasks, "interval"))
    inside = 0
    for group in groups:
        residuals = [dataset.target[test] - next(answers) for _, test in group]
        own, others = residuals[0], np.concatenate(residuals[1:])
        inside += int(covered(own, widths(others, product.serving.interval_coverage)).sum())
    return inside / len(dataset.target)


def _fit_all(
    dataset: Dataset, product: Product, settings: TrainSettings, tasks: list[tuple[Candidate, Split]], title: str
) -> list[Matrix]:
    """Held-out predictions of each task, in order, with a bar for a person who watches."""
    jobs = (delayed(_fit_one)(dataset, product, settings.seed, candidate, split) for candidate, split in tasks)
    answers: Iterable[Matrix] = Parallel(n_jobs=settings.jobs, return_as="generator", batch_size=1)(jobs)
    return list(tqdm(answers, total=len(tasks), desc=title, unit="fit", leave=False, disable=None))


def _fit_one(dataset: Dataset, product: Product, seed: int, candidate: Candidate, split: Split) -> Matrix:
    rows, held_out = split
    fill = fit_fill(dataset.features[rows], product)
    model = candidate.build(seed).fit(impute(dataset.features[rows], fill), dataset.target[rows])
    predictions: Matrix = model.predict(impute(dataset.features[held_out], fill))
    return predictions


def _score(name: str, held_out: Matrix, target: Matrix, splits: list[Split], folds: int) -> Result:
    residuals = target - held_out
    parts = [(residuals[number // folds, test], target[test]) for number, (_, test) in enumerate(splits)]
    rmse = [float(np.sqrt(np.mean(error**2))) for error, _ in parts]
    mae = [float(np.abs(error).mean()) for error, _ in parts]
    r2 = [float(1 - np.sum(error**2) / np.sum((values - values.mean()) ** 2)) for error, values in parts]
    return Result(
        name=name,
        rmse=float(np.mean(rmse)),
        rmse_spread=float(np.std(rmse)),
        pooled_rmse=float(np.sqrt(np.mean(residuals**2))),
        mae=float(np.mean(mae)),
        mae_spread=float(np.std(mae)),
        r2=float(np.mean(r2)),
        r2_spread=float(np.std(r2)),
        held_out=held_out,
    )
