"""Train: search the candidates by repeated cross-validation, choose one, assess it, fit it on all rows.

The simplest candidate is taken that is no more than one standard error behind the best, counted on the same rows: a
more complex one has to earn its place. Imputation is fitted inside every fold. Everything is seeded: equal data and
settings give an equal model.
"""

from typing import Any

import msgspec
import numpy as np
from sklearn.model_selection import RepeatedKFold
from threadpoolctl import threadpool_limits

from beacon_core.domain.exit_statuses import REFUSED
from beacon_core.domain.product import Product
from beacon_retraining.data.dataset import Dataset, Matrix
from beacon_retraining.errors import RetrainError
from beacon_retraining.training.assess import Assessment, assess
from beacon_retraining.training.candidates import CANDIDATES, Candidate
from beacon_retraining.training.crossval import Split, Task, fit_all
from beacon_retraining.training.imputation import fit_fill, impute
from beacon_retraining.training.interval import Widths, widths
from beacon_retraining.training.settings import TrainSettings


class NoSuitableCandidateError(RetrainError):
    """None of the named candidates can be fitted to these rows."""

    exit_status = REFUSED


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
    behind: dict[str, tuple[float, float]]
    widths: Widths
    assessment: Assessment

    @property
    def result(self) -> Result:
        """The chosen candidate's cross-validation."""
        return next(result for result in self.results if result.name == self.candidate)

    @property
    def measured_coverage(self) -> float:
        """Share of held-out rows inside their interval."""
        return self.assessment.coverage

    @property
    def importances(self) -> Matrix:
        """Rise of the RMSE when a feature's values are shuffled among held-out rows, per feature."""
        return self.assessment.importances


def train(dataset: Dataset, product: Product, settings: TrainSettings) -> Trained:
    """Search, choose, assess and fit; raises `NoSuitableCandidateError`."""
    tried = [
        candidate for candidate in CANDIDATES if candidate.name in settings.candidates and candidate.suits(dataset)
    ]
    if not tried:
        names = ", ".join(settings.candidates)
        raise NoSuitableCandidateError(f"of the candidates {names} none suits these {len(dataset.target)} rows")
    results = compare(dataset, product, settings, tried)
    behind = behind_best(results, dataset.target)
    best = choose(results, behind)
    candidate = next(candidate for candidate in tried if candidate.name == best.name)
    fill = fit_fill(dataset.features, product)
    return Trained(
        candidate=candidate.name,
        model=fit(candidate, impute(dataset.features, fill), dataset.target, settings.seed),
        fill=fill,
        results=results,
        behind=behind,
        widths=widths(dataset.target - best.held_out, product.training.interval_coverage),
        assessment=assess(
            dataset, product, candidate, fold_count=settings.coverage_folds, seed=settings.seed, jobs=settings.jobs
        ),
    )


def fit(candidate: Candidate, features: Matrix, target: Matrix, seed: int) -> Any:
    """The candidate fitted to complete `features`, on one thread: with more, the last bits of a sum may change."""
    with threadpool_limits(1):
        return candidate.build(seed).fit(features, target)


def behind_best(results: tuple[Result, ...], target: Matrix) -> dict[str, tuple[float, float]]:
    """Of each candidate: its mean squared error above the best one's, and the standard error of that difference.

    Row by row, on the same rows: repeats are averaged first, since they are not new evidence.
    """
    errors = {result.name: np.mean((target - result.held_out) ** 2, axis=0) for result in results}
    best = min(errors.values(), key=np.mean)
    differences = {name: own - best for name, own in errors.items()}
    return {name: (float(d.mean()), float(d.std(ddof=1) / np.sqrt(len(d)))) for name, d in differences.items()}


def choose(results: tuple[Result, ...], behind: dict[str, tuple[float, float]]) -> Result:
    """The first, in order of complexity, that is at most one standard error behind the best."""
    return next(result for result in results if behind[result.name][0] <= behind[result.name][1])


def compare(
    dataset: Dataset, product: Product, settings: TrainSettings, candidates: list[Candidate]
) -> tuple[Result, ...]:
    """Cross-validate the candidates, all on the same folds."""
    rows = len(dataset.target)
    splits = search_splits(rows, settings)
    members = {name for candidate in candidates for name, _ in candidate.blend_of or ((candidate.name, 1.0),)}
    fitted = [candidate for candidate in CANDIDATES if candidate.name in members]
    tasks = [Task(candidate, split) for candidate in fitted for split in splits]
    answers = fit_all(dataset, product, tasks, settings.seed, settings.jobs, "cross-validation")
    held_out = {candidate.name: np.empty((settings.repeats, rows)) for candidate in fitted}
    for number, (task, answer) in enumerate(zip(tasks, answers, strict=True)):
        held_out[task.candidate.name][number % len(splits) // settings.folds, task.split[1]] = answer[0]
    for candidate in candidates:
        if candidate.blend_of:
            logs = [weight * np.log(held_out[member]) for member, weight in candidate.blend_of]
            held_out[candidate.name] = np.exp(np.sum(logs, axis=0))
    return tuple(
        score(candidate.name, held_out[candidate.name], dataset.target, splits, settings.folds)
        for candidate in candidates
    )


def search_splits(rows: int, settings: TrainSettings) -> list[Split]:
    """The folds of the search, repeat by repeat."""
    splitter = RepeatedKFold(n_splits=settings.folds, n_repeats=settings.repeats, random_state=settings.seed)
    return list(splitter.split(np.empty(rows)))


def score(name: str, held_out: Matrix, target: Matrix, splits: list[Split], folds: int) -> Result:
    """Held-out predictions, shape (repeats, rows), as the figures of a candidate."""
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
