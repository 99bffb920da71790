"""Train: compare the model specs by cross-validation, choose one, fit it on all rows, assess it.

The simplest spec within one standard error of the best, and with at most 2 % more error, is chosen, counted on the
same rows. Imputation and encoding are fitted inside every fold. Everything is seeded: equal data and settings give an
equal model.
"""

from collections.abc import Callable

import msgspec
import numpy as np
from sklearn.model_selection import RepeatedKFold

from beacon_core.domain.exit_statuses import REFUSED
from beacon_core.domain.product import Product
from beacon_retraining.data.dataset import Dataset, Matrix
from beacon_retraining.errors import RetrainError
from beacon_retraining.training.assess import ModelAssessment, assess
from beacon_retraining.training.crossval import Task, fit_all
from beacon_retraining.training.effort import Effort, effort_of
from beacon_retraining.training.estimators import TableModel
from beacon_retraining.training.fitting import FittedModel, fit
from beacon_retraining.training.interval import Widths, widths
from beacon_retraining.training.model_specs import MODEL_SPECS, ModelSpec, check_target
from beacon_retraining.training.settings import TrainSettings
from beacon_retraining.training.splits import Index, Split, split_rows

SIMPLICITY = 1.02
"""A simpler model's RMSE to the best one's, at most: on few rows a standard error is wide, and would hide more."""
Check = Callable[[FittedModel], None]
"""Raises `RetrainError` for a fitted model that cannot be used; then the next best one is taken."""


class NoApplicableModelError(RetrainError):
    """None of the named model specs can be fitted to these rows, or none of them can be used."""

    exit_status = REFUSED


class TrainingResult(msgspec.Struct, frozen=True):
    """One model spec's cross-validation: means over the folds and their spread (standard deviation), target's unit.

    `held_out` are the predictions, shape (repeats, rows), of `rows`; `pooled_rmse` is over all of them at once.
    """

    name: str
    rmse: float
    rmse_spread: float
    pooled_rmse: float
    mae: float
    mae_spread: float
    r2: float
    r2_spread: float
    rows: Index
    held_out: Matrix


class TrainedModel(msgspec.Struct, frozen=True):
    """The chosen model, fitted on all rows, with all figures that the package holds.

    `fill` (features). `results` are of the search, `result` of the chosen spec: on all rows. `excess`: for each spec
    what `excess_over_best` computes. `rejected` are better specs that cannot be used, and why.
    """

    algorithm: str
    model: TableModel | None
    fill: Matrix
    results: tuple[TrainingResult, ...]
    result: TrainingResult
    excess: dict[str, tuple[float, float]]
    widths: Widths
    assessment: ModelAssessment
    rejected: dict[str, str] = {}

    @property
    def measured_coverage(self) -> float:
        """Share of held-out rows inside their interval."""
        return self.assessment.coverage

    @property
    def importances(self) -> Matrix:
        """Rise of the RMSE when a feature's values are shuffled among held-out rows, per feature."""
        return self.assessment.importances


def train(dataset: Dataset, product: Product, settings: TrainSettings, check: Check | None = None) -> TrainedModel:
    """Compare, choose, fit and assess; raises `NoApplicableModelError`, `SplitError`, `TransformError`.

    A model that `check` refuses gives way to the best of the others.
    """
    check_target(dataset, dataset.schema)
    tried = [spec for spec in MODEL_SPECS if spec.name in settings.candidates and spec.is_applicable(dataset)]
    if not tried:
        names = ", ".join(settings.candidates)
        raise NoApplicableModelError(
            f"none of the candidates {names} can be fitted to these {len(dataset.target)} rows"
        )
    effort = effort_of(len(dataset.target), settings)
    results = compare(dataset, product, settings, tried)
    best, fitted, rejected = _first_usable(dataset, settings, results, check)
    spec = next(spec for spec in tried if spec.name == best.name)
    assessment = assess(dataset, product, spec, effort=effort, seed=settings.seed, jobs=settings.jobs)
    result = best if effort.search_rows == len(dataset.target) else _result_of(spec.name, dataset, assessment)
    weights = None if dataset.weights is None else dataset.weights[result.rows]
    return TrainedModel(
        algorithm=spec.name,
        model=fitted.regressor,
        fill=fitted.fill,
        results=results,
        result=result,
        excess=excess_over_best(results, dataset.target, dataset.weights),
        widths=widths(dataset.target[result.rows] - result.held_out, product.training.interval_coverage, weights),
        assessment=assessment,
        rejected=rejected,
    )


def _first_usable(
    dataset: Dataset, settings: TrainSettings, results: tuple[TrainingResult, ...], check: Check | None
) -> tuple[TrainingResult, FittedModel, dict[str, str]]:
    """The best result whose model `check` accepts, the model, and those that were refused."""
    left, rejected = results, dict[str, str]()
    while left:
        best = choose(left, excess_over_best(left, dataset.target, dataset.weights))
        fitted = fit(next(spec for spec in MODEL_SPECS if spec.name == best.name), dataset, settings.seed)
        try:
            if check is not None:
                check(fitted)
        except RetrainError as error:
            rejected[best.name] = str(error)
            left = tuple(result for result in left if result.name != best.name)
        else:
            return best, fitted, rejected
    reasons = "; ".join(f"{name}: {reason}" for name, reason in rejected.items())
    raise NoApplicableModelError(f"no model can be used: {reasons}")


def excess_over_best(
    results: tuple[TrainingResult, ...], target: Matrix, row_weights: Matrix | None = None
) -> dict[str, tuple[float, float]]:
    """Of each spec: its mean squared error above the best one's, and the standard error of that difference.

    Row by row, on the same rows: repeats are averaged first, since they are not new evidence. `target` and
    `row_weights` are of all rows.
    """
    rows = results[0].rows
    target, weights = target[rows], np.ones(len(rows)) if row_weights is None else row_weights[rows]
    errors = {result.name: weights * np.mean((target - result.held_out) ** 2, axis=0) for result in results}
    best = min(errors.values(), key=np.mean)
    differences = {name: (own - best) / weights.mean() for name, own in errors.items()}
    return {name: (float(d.mean()), float(d.std(ddof=1) / np.sqrt(len(d)))) for name, d in differences.items()}


def choose(results: tuple[TrainingResult, ...], excess: dict[str, tuple[float, float]]) -> TrainingResult:
    """The first, in order of complexity, that is at most one standard error and `SIMPLICITY` behind the best."""
    most = SIMPLICITY * min(result.pooled_rmse for result in results)
    return next(
        result for result in results if excess[result.name][0] <= excess[result.name][1] and result.pooled_rmse <= most
    )


def compare(
    dataset: Dataset, product: Product, settings: TrainSettings, specs: list[ModelSpec]
) -> tuple[TrainingResult, ...]:
    """Cross-validate the specs, all on the same folds; of many rows on some, chosen by chance."""
    effort = effort_of(len(dataset.target), settings)
    repeats, splits = search_splits(dataset, product, effort, settings.seed)
    members = {name for spec in specs for name, _ in spec.blend_of or ((spec.name, 1.0),)}
    fitted = [spec for spec in MODEL_SPECS if spec.name in members]
    tasks = [Task(spec, split) for spec in fitted for split in splits]
    answers = fit_all(dataset, tasks, settings.seed, settings.jobs, "cross-validation")
    folds = len(splits) // repeats
    held_out = {spec.name: np.full((repeats, len(dataset.target)), np.nan) for spec in fitted}
    for number, (task, answer) in enumerate(zip(tasks, answers, strict=True)):
        held_out[task.spec.name][number % len(splits) // folds, task.split[1]] = answer.predictions[0]
    for spec in specs:
        if spec.blend_of:
            held_out[spec.name] = _blended(spec, dataset, held_out)
    return tuple(score(spec.name, held_out[spec.name], dataset, splits) for spec in specs)


def search_splits(dataset: Dataset, product: Product, effort: Effort, seed: int) -> tuple[int, list[Split]]:
    """How often the folds of the search are repeated, and the folds, repeat by repeat."""
    rows = np.arange(len(dataset.target))
    if effort.search_rows < len(rows):
        rows = np.sort(np.random.default_rng(seed).permutation(rows)[: effort.search_rows])
    if product.time.split == "random":
        splitter = RepeatedKFold(n_splits=effort.folds, n_repeats=effort.repeats, random_state=seed)
        return effort.repeats, [(rows[a], rows[b]) for a, b in splitter.split(rows)]
    # Blocks by time are always the same.
    repeats = 1 if product.time.split == "time" else effort.repeats
    number = range(repeats)
    return repeats, [split for n in number for split in split_rows(dataset, product, rows, effort.folds, seed + n)]


def score(name: str, held_out: Matrix, dataset: Dataset, splits: list[Split]) -> TrainingResult:
    """Held-out predictions, shape (repeats, all rows; NaN where a row was not held out), as the figures of a spec."""
    folds = len(splits) // len(held_out)
    residuals, weights = dataset.target - held_out, dataset.row_weights
    parts = [(residuals[number // folds, test], test) for number, (_, test) in enumerate(splits)]
    rmse = [float(np.sqrt(np.average(error**2, weights=weights[test]))) for error, test in parts]
    mae = [float(np.average(np.abs(error), weights=weights[test])) for error, test in parts]
    r2 = [_r2(error, dataset.target[test], weights[test]) for error, test in parts]
    rows = np.flatnonzero(~np.isnan(held_out[0]))
    return TrainingResult(
        name=name,
        rmse=float(np.mean(rmse)),
        rmse_spread=float(np.std(rmse)),
        pooled_rmse=float(np.sqrt(np.average(np.mean(residuals[:, rows] ** 2, axis=0), weights=weights[rows]))),
        mae=float(np.mean(mae)),
        mae_spread=float(np.std(mae)),
        r2=float(np.mean(r2)),
        r2_spread=float(np.std(r2)),
        rows=rows,
        held_out=held_out[:, rows],
    )


def _result_of(name: str, dataset: Dataset, assessment: ModelAssessment) -> TrainingResult:
    """The figures of a spec on all rows, from the folds of its assessment."""
    held_out = np.full((1, len(dataset.target)), np.nan)
    for part in assessment.held_out:
        held_out[0, part.rows] = part.predictions[0]
    nothing = np.empty(0, np.intp)
    return score(name, held_out, dataset, [(nothing, part.rows) for part in assessment.held_out])


def _blended(spec: ModelSpec, dataset: Dataset, held_out: dict[str, Matrix]) -> Matrix:
    """A blend's predictions from its members': the mean on the scale that they predict on."""
    if spec.takes_logarithm(dataset):
        return np.asarray(np.exp(sum(weight * np.log(held_out[member]) for member, weight in spec.blend_of)))
    return np.asarray(sum(weight * held_out[member] for member, weight in spec.blend_of))


def _r2(error: Matrix, target: Matrix, weights: Matrix) -> float:
    """R2 of a fold; 0 where its rows have one value, of which nothing can be explained."""
    variance = float(np.sum(weights * (target - np.average(target, weights=weights)) ** 2))
    return 1 - float(np.sum(weights * error**2)) / variance if variance else 0.0
