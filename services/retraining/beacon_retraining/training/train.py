"""Train: compare the model specs by repeated cross-validation, choose one, assess it, fit it on all rows.

The simplest spec within one standard error of the best is chosen, both counted on the same rows. Imputation is fitted
inside every fold. Everything is seeded: equal data and settings give an equal model.
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
from beacon_retraining.training.assess import ModelAssessment, assess
from beacon_retraining.training.crossval import Split, Task, fit_all
from beacon_retraining.training.imputation import fit_fill, impute
from beacon_retraining.training.interval import Widths, widths
from beacon_retraining.training.model_specs import MODEL_SPECS, ModelSpec
from beacon_retraining.training.settings import TrainSettings


class NoApplicableModelError(RetrainError):
    """None of the named model specs can be fitted to these rows."""

    exit_status = REFUSED


class TrainingResult(msgspec.Struct, frozen=True):
    """One model spec's cross-validation: means over the folds and their spread (standard deviation), target's unit.

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


class TrainedModel(msgspec.Struct, frozen=True):
    """The chosen model, fitted on all rows, with all figures that the package holds.

    `fill` (features). `excess`: for each spec what `excess_over_best` computes.
    """

    algorithm: str
    model: Any
    fill: Matrix
    results: tuple[TrainingResult, ...]
    excess: dict[str, tuple[float, float]]
    widths: Widths
    assessment: ModelAssessment

    @property
    def result(self) -> TrainingResult:
        """The chosen spec's cross-validation."""
        return next(result for result in self.results if result.name == self.algorithm)

    @property
    def measured_coverage(self) -> float:
        """Share of held-out rows inside their interval."""
        return self.assessment.coverage

    @property
    def importances(self) -> Matrix:
        """Rise of the RMSE when a feature's values are shuffled among held-out rows, per feature."""
        return self.assessment.importances


def train(dataset: Dataset, product: Product, settings: TrainSettings) -> TrainedModel:
    """Compare, choose, assess and fit; raises `NoApplicableModelError`."""
    tried = [spec for spec in MODEL_SPECS if spec.name in settings.candidates and spec.is_applicable(dataset)]
    if not tried:
        names = ", ".join(settings.candidates)
        raise NoApplicableModelError(
            f"none of the candidates {names} can be fitted to these {len(dataset.target)} rows"
        )
    results = compare(dataset, product, settings, tried)
    excess = excess_over_best(results, dataset.target)
    best = choose(results, excess)
    spec = next(spec for spec in tried if spec.name == best.name)
    fill = fit_fill(dataset.features, product)
    return TrainedModel(
        algorithm=spec.name,
        model=fit(spec, impute(dataset.features, fill), dataset.target, settings.seed),
        fill=fill,
        results=results,
        excess=excess,
        widths=widths(dataset.target - best.held_out, product.training.interval_coverage),
        assessment=assess(
            dataset, product, spec, fold_count=settings.coverage_folds, seed=settings.seed, jobs=settings.jobs
        ),
    )


def fit(spec: ModelSpec, features: Matrix, target: Matrix, seed: int) -> Any:
    """The spec fitted to complete `features`, on one thread: with more, the last bits of a sum may change."""
    with threadpool_limits(1):
        return spec.build(seed).fit(features, target)


def excess_over_best(results: tuple[TrainingResult, ...], target: Matrix) -> dict[str, tuple[float, float]]:
    """Of each spec: its mean squared error above the best one's, and the standard error of that difference.

    Row by row, on the same rows: repeats are averaged first, since they are not new evidence.
    """
    errors = {result.name: np.mean((target - result.held_out) ** 2, axis=0) for result in results}
    best = min(errors.values(), key=np.mean)
    differences = {name: own - best for name, own in errors.items()}
    return {name: (float(d.mean()), float(d.std(ddof=1) / np.sqrt(len(d)))) for name, d in differences.items()}


def choose(results: tuple[TrainingResult, ...], excess: dict[str, tuple[float, float]]) -> TrainingResult:
    """The first, in order of complexity, that is at most one standard error behind the best."""
    return next(result for result in results if excess[result.name][0] <= excess[result.name][1])


def compare(
    dataset: Dataset, product: Product, settings: TrainSettings, specs: list[ModelSpec]
) -> tuple[TrainingResult, ...]:
    """Cross-validate the specs, all on the same folds."""
    rows = len(dataset.target)
    splits = search_splits(rows, settings)
    members = {name for spec in specs for name, _ in spec.blend_of or ((spec.name, 1.0),)}
    fitted = [spec for spec in MODEL_SPECS if spec.name in members]
    tasks = [Task(spec, split) for spec in fitted for split in splits]
    answers = fit_all(dataset, product, tasks, settings.seed, settings.jobs, "cross-validation")
    held_out = {spec.name: np.empty((settings.repeats, rows)) for spec in fitted}
    for number, (task, answer) in enumerate(zip(tasks, answers, strict=True)):
        held_out[task.spec.name][number % len(splits) // settings.folds, task.split[1]] = answer[0]
    for spec in specs:
        if spec.blend_of:
            logs = [weight * np.log(held_out[member]) for member, weight in spec.blend_of]
            held_out[spec.name] = np.exp(np.sum(logs, axis=0))
    return tuple(score(spec.name, held_out[spec.name], dataset.target, splits, settings.folds) for spec in specs)


def search_splits(rows: int, settings: TrainSettings) -> list[Split]:
    """The folds of the search, repeat by repeat."""
    splitter = RepeatedKFold(n_splits=settings.folds, n_repeats=settings.repeats, random_state=settings.seed)
    return list(splitter.split(np.empty(rows)))


def score(name: str, held_out: Matrix, target: Matrix, splits: list[Split], folds: int) -> TrainingResult:
    """Held-out predictions, shape (repeats, rows), as the figures of a spec."""
    residuals = target - held_out
    parts = [(residuals[number // folds, test], target[test]) for number, (_, test) in enumerate(splits)]
    rmse = [float(np.sqrt(np.mean(error**2))) for error, _ in parts]
    mae = [float(np.abs(error).mean()) for error, _ in parts]
    r2 = [float(1 - np.sum(error**2) / np.sum((values - values.mean()) ** 2)) for error, values in parts]
    return TrainingResult(
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
