"""Train: search for a recipe by cross-validation, choose one, fit it on all rows, assess it.

Every family is tried as it comes, then the search tunes them (search.py), then the best fits are blended (blending.py).
Of these the simplest within one standard error of the best, and with at most 1 % more error, is chosen, counted on the
same rows. Imputation and encoding are fitted inside every fold. Everything is seeded: equal data and settings give an
equal model.
"""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import numpy as np
from sklearn.model_selection import RepeatedKFold

from beacon_core.domain.exit_statuses import REFUSED
from beacon_core.domain.product import Product
from beacon_core.model_package.recipe import Recipe
from beacon_core.platform.job import log
from beacon_retraining.data.dataset import Dataset, Matrix
from beacon_retraining.errors import RetrainError
from beacon_retraining.training.assess import ModelAssessment, assess
from beacon_retraining.training.blending import blend_of, blended, members_of
from beacon_retraining.training.cost import is_affordable, shortened
from beacon_retraining.training.effort import Effort, effort_of
from beacon_retraining.training.entry_point.code import TrainingCode, without_code
from beacon_retraining.training.entry_point.probe import check_repeats, try_fit
from beacon_retraining.training.evaluations import Evaluations, evaluations
from beacon_retraining.training.families import FAMILIES, why_no_xgboost
from beacon_retraining.training.fitting import FittedModel, fit_alone
from beacon_retraining.training.journal import JournalFile
from beacon_retraining.training.libraries import versions_of
from beacon_retraining.training.recipes import BLEND, complexity, name_of, offered, recipe_for, recipe_of
from beacon_retraining.training.search import SearchPlan, SearchSummary, Trial, plan_of, tune
from beacon_retraining.training.selection import TrainingResult, choose, excess_over_best, result_of_parts, score
from beacon_retraining.training.settings import TrainSettings
from beacon_retraining.training.space import is_tunable
from beacon_retraining.training.splits import Split, split_rows
from beacon_retraining.training.spread import Calibration, calibrate
from beacon_retraining.training.target_scale import check_target

TUNED = "tuned"
Check = Callable[[FittedModel], None]
"""Raises `RetrainError` for a fitted model that cannot be used; then the next best one is taken."""


class NoApplicableModelError(RetrainError):
    """None of the named families can be fitted to these rows, or none of the models can be used."""

    exit_status = REFUSED


class Compared(msgspec.Struct, frozen=True):
    """What a search compared, from simple to complex: recipes by name with their results, and its trials."""

    recipes: dict[str, Recipe]
    results: tuple[TrainingResult, ...]
    trials: tuple[Trial, ...] = ()
    summary: SearchSummary = SearchSummary()


class ModelExport(msgspec.Struct, frozen=True):
    """The model as ONNX: its sha256, and its largest difference from the fitted model, over all training rows."""

    sha256: str
    parity: float


class TrainedModel(msgspec.Struct, frozen=True):
    """The chosen model, fitted on all rows, with all figures that the package holds.

    `fill` (features). `results` are of the search, `result` of the chosen recipe: on all rows. `excess`: for each
    result what `excess_over_best` computes. `interval` is calibrated on the predictions of `result`. `rejected` are
    better models that cannot be used, and why. `recipe` only names an entry point's code. `export` is None for a model
    that was not exported.
    """

    algorithm: str
    recipe: Recipe
    model: Any
    fill: Matrix
    results: tuple[TrainingResult, ...]
    result: TrainingResult
    excess: dict[str, tuple[float, float]]
    interval: Calibration
    assessment: ModelAssessment
    libraries: dict[str, str]
    rejected: dict[str, str] = {}
    trials: tuple[Trial, ...] = ()
    summary: SearchSummary = SearchSummary()
    export: ModelExport | None = None

    @property
    def measured_coverage(self) -> float:
        """Share of held-out rows inside their interval."""
        return self.assessment.coverage

    @property
    def importances(self) -> Matrix:
        """Rise of the RMSE when a feature's values are shuffled among held-out rows, per feature."""
        return self.assessment.importances


def train(
    dataset: Dataset,
    product: Product,
    settings: TrainSettings,
    check: Check | None = None,
    journal: JournalFile | None = None,
    entry_point: TrainingCode | None = None,
) -> TrainedModel:
    """Search, choose, fit and assess; raises `NoApplicableModelError`, `SplitError`, `TransformError`.

    A model that `check` refuses gives way to the best of the others. The search's fits are kept in `journal`. With an
    `entry_point` its estimator is the only one; it is tried on few rows first, and raises `EntryPointError`.
    """
    check_target(dataset, dataset.schema)
    plan = plan_of(product, settings, entry_point)
    if entry_point is not None:
        try_fit(recipe_of(entry_point), dataset, settings.seed, check)
    compared = compare(dataset, product, settings, plan, journal)
    best, fitted, rejected = _first_usable(dataset, settings, plan, compared, check)
    recipe = compared.recipes[best.name]
    check_repeats(fitted, recipe, dataset, settings.seed)
    effort = effort_of(len(dataset.target), settings)
    assessment = assess(dataset, product, recipe, effort=effort, seed=settings.seed, jobs=settings.jobs)
    result = best
    if effort.search_rows < len(dataset.target):
        parts = ((part.rows, part.predictions[0]) for part in assessment.held_out)
        result = result_of_parts(best.name, dataset, parts)
    return TrainedModel(
        algorithm=name_of(recipe),
        recipe=without_code(recipe),
        model=fitted.regressor,
        fill=fitted.fill,
        results=compared.results,
        result=result,
        excess=excess_over_best(compared.results, dataset.target, dataset.weights, plan.metric),
        interval=calibrate(dataset, product, result.rows, result.held_out, fitted.fill, settings.seed),
        assessment=assessment,
        libraries=versions_of(None if entry_point is None else entry_point.files),
        rejected=rejected,
        trials=compared.trials,
        summary=compared.summary,
    )


def _first_usable(
    dataset: Dataset, settings: TrainSettings, plan: SearchPlan, compared: Compared, check: Check | None
) -> tuple[TrainingResult, FittedModel, dict[str, str]]:
    """The best result whose model `check` accepts, the model, and those that were refused."""
    left, rejected = compared.results, dict[str, str]()
    while left:
        best = choose(left, excess_over_best(left, dataset.target, dataset.weights, plan.metric), plan.metric)
        fitted = fit_alone(compared.recipes[best.name], dataset, settings.seed)
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


def compare(
    dataset: Dataset,
    product: Product,
    settings: TrainSettings,
    plan: SearchPlan,
    journal: JournalFile | None = None,
) -> Compared:
    """Search on the folds: each family as it comes, the best tuned one of each, and a blend of the best.

    Of many rows the search is on some, chosen by chance. Raises `NoApplicableModelError`.
    """
    recipes = _first_recipes(dataset, plan)
    effort = effort_of(len(dataset.target), settings)
    repeats, splits = search_splits(dataset, product, effort, settings.seed)
    tunes = plan.tunes and any(is_tunable(FAMILIES[name]) for name in recipes)
    with evaluations(
        dataset, splits, repeats, seed=settings.seed, jobs=settings.jobs, journal=journal, tunes=tunes
    ) as found:
        found.make([(recipe, number) for recipe in recipes.values() for number in range(len(splits))])
        recipes = _without_failures(recipes, found)
        trials, summary = tune(found, plan, settings.seed)
        recipes |= _best_tuned(trials, recipes)
        members = _members(recipes, trials, found, plan) if BLEND in plan.models else ()
        return _measured(recipes, members, found, plan, trials, summary)


def _first_recipes(dataset: Dataset, plan: SearchPlan) -> dict[str, Recipe]:
    """What the families are tried with first, by name; raises `NoApplicableModelError`."""
    if plan.entry_point is not None:
        own = recipe_of(plan.entry_point)
        return {name_of(own): own}
    if "xgboost" in plan.models and (reason := why_no_xgboost()):
        log.warning("the family xgboost is not offered: %s", reason)
    families = offered(plan.models, dataset, plan.monotone)
    if not families:
        held = f" and hold training.monotone ({', '.join(plan.monotone)})" if plan.monotone else ""
        raise NoApplicableModelError(
            f"none of the models {', '.join(plan.models)} can be fitted to these {len(dataset.target)} rows{held}"
        )
    recipes = {family.name: recipe_for(family.name, dataset, plan.monotone) for family in families}
    return {name: shortened(recipe, dataset) for name, recipe in recipes.items()}


def _without_failures(recipes: dict[str, Recipe], found: Evaluations) -> dict[str, Recipe]:
    """The recipes whose every fit was made; raises `NoApplicableModelError`."""
    numbers = range(len(found.splits))
    failures = {name: text for name, recipe in recipes.items() if (text := found.failure(recipe, numbers))}
    for name, reason in failures.items():
        log.warning("%s is left out of the comparison: %s", name, reason)
    if len(failures) == len(recipes):
        raise NoApplicableModelError("; ".join(f"{name}: {reason}" for name, reason in failures.items()))
    return {name: recipe for name, recipe in recipes.items() if name not in failures}


def _best_tuned(trials: list[Trial], known: dict[str, Recipe]) -> dict[str, Recipe]:
    """The best complete trial of each family, where it is not the family as it comes."""
    best: dict[str, Trial] = {}
    for trial in trials:
        name = f"{name_of(trial.recipe)} {TUNED}"
        if trial.score is not None and trial.state == "complete" and trial.recipe not in known.values():
            other = best.get(name)
            if other is None or other.score is None or trial.score < other.score:
                best[name] = trial
    return {name: trial.recipe for name, trial in best.items()}


def _members(
    recipes: dict[str, Recipe], trials: list[Trial], found: Evaluations, plan: SearchPlan
) -> tuple[Recipe, ...]:
    """The members of the best blend of all that was fitted on every fold, by the predictions in the first repeat."""
    known = [*recipes.values(), *(trial.recipe for trial in trials if trial.state == "complete")]
    blend = _blend(known, 1, found, plan)
    return () if blend is None else members_of(blend)


def _blend(recipes: Iterable[Recipe], repeats: int, found: Evaluations, plan: SearchPlan) -> Recipe | None:
    """The best blend by the predictions in the first repeats."""
    dataset = found.dataset
    rows = np.concatenate([test for _, test in found.splits[: found.folds]])
    distinct: list[Recipe] = []
    distinct += (recipe for recipe in recipes if recipe not in distinct)
    held_out = [(recipe, found.held_out(recipe, repeats)[:, rows].ravel()) for recipe in distinct]
    target, weights = (np.tile(values[rows], repeats) for values in (dataset.target, dataset.row_weights))
    return blend_of(held_out, target, weights, plan.metric, lambda blend: is_affordable(blend, dataset))


def _measured(
    recipes: dict[str, Recipe],
    members: tuple[Recipe, ...],
    found: Evaluations,
    plan: SearchPlan,
    trials: list[Trial],
    summary: SearchSummary,
) -> Compared:
    """The results of the recipes over all repeats, from simple to complex, and of a blend of them and of `members`."""
    numbers = range(len(found.splits))
    found.make([(recipe, number) for recipe in (*recipes.values(), *members) for number in numbers])
    recipes = {name: recipe for name, recipe in recipes.items() if not found.failure(recipe, numbers)}
    usable = [*recipes.values(), *(recipe for recipe in members if not found.failure(recipe, numbers))]
    ranked = dict(sorted(recipes.items(), key=lambda pair: (complexity(pair[1]), pair[0].endswith(TUNED))))
    held_out = {name: found.held_out(recipe, found.repeats) for name, recipe in ranked.items()}
    blend = _blend(usable, found.repeats, found, plan) if BLEND in plan.models else None
    if blend is not None:
        ranked[BLEND] = blend
        held_out[BLEND] = blended(blend, [found.held_out(member, found.repeats) for member in members_of(blend)])
    results = tuple(score(name, own, found.dataset, found.splits) for name, own in held_out.items())
    return Compared(ranked, results, tuple(trials), summary)


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
