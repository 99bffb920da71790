"""The search: families tuned by Optuna, on the folds of the comparison, within a budget.

Equal inputs and seed give equal trials on any machine. So the budget becomes a number of trials by the cost model
(cost.py), trials are drawn in batches of a constant size, and a batch is told to Optuna in order, whatever finished
first. The clock only ends a search that takes `CLOCK_FACTOR` times its budget; then the number of trials says how to
make the same model again.
"""

import time
import warnings
from typing import Any, Literal

import msgspec
import numpy as np

from beacon_core.domain.product import Product
from beacon_core.model_package.recipe import Direction, Recipe
from beacon_core.platform.job import log
from beacon_core.platform.progress import Progress
from beacon_retraining.training.cost import shortened
from beacon_retraining.training.entry_point.code import TrainingCode
from beacon_retraining.training.entry_point.errors import refusal
from beacon_retraining.training.evaluations import Evaluations
from beacon_retraining.training.families import Family, Metric
from beacon_retraining.training.recipes import offered
from beacon_retraining.training.selection import error_of
from beacon_retraining.training.settings import TrainSettings
from beacon_retraining.training.space import Choices, choices_of, first_parameters, is_tunable, suggest

BATCH = 4
"""Trials that are drawn at once, of one family: the next ones know their results."""
CORES = 2
"""The budget is in seconds of so many cores, whatever the machine has."""
CLOCK_FACTOR = 4.0
LEAST_CLOCK_SECONDS = 120.0
MOST_TRIALS = 100
"""Of a family: on few rows, more of them choose what suits the folds by chance."""
RUNGS = (0.2, 0.5, 1.0)
"""Shares of the folds after which a trial that is worse than the median of the others is ended."""
SEARCH_OPTIONS = ("--candidates", "--budget-seconds", "--trials")
STARTUP_TRIALS = 6
"""Of a family, by chance, before Optuna's model of the earlier ones chooses."""


class Trial(msgspec.Struct, frozen=True):
    """One trial, as trials.json has it: `score` in the target's unit; `folds` it got; `seconds` of one core."""

    number: int
    recipe: Recipe
    state: Literal["complete", "pruned", "failed"]
    score: float | None
    folds: int
    seconds: float
    reason: str = ""


class SearchPlan(msgspec.Struct, frozen=True):
    """What a search may do: product.yaml's section training, changed by the settings of the run."""

    models: tuple[str, ...]
    metric: Metric
    budget_seconds: float
    trials: int | None
    monotone: dict[str, Direction]
    entry_point: TrainingCode | None = None

    @property
    def tunes(self) -> bool:
        """Whether anything is tuned."""
        return self.trials > 0 if self.trials is not None else self.budget_seconds > 0


class SearchSummary(msgspec.Struct, frozen=True):
    """How a search went: its trials by state, why it ended, and what the cost model said it would take."""

    complete: int = 0
    pruned: int = 0
    failed: int = 0
    planned_seconds: float = 0.0
    seconds: float = 0.0
    is_cut: bool = False

    @property
    def trials(self) -> int:
        """All of them: `training.trials` of so many makes the same model."""
        return self.complete + self.pruned + self.failed


def plan_of(product: Product, settings: TrainSettings, entry_point: TrainingCode | None = None) -> SearchPlan:
    """The plan of a run; with an entry point there is nothing to search for. Raises `EntryPointError`."""
    stated = product.training
    if entry_point is not None:
        given = settings.candidates, settings.budget_seconds, settings.trials
        options = [name for name, value in zip(SEARCH_OPTIONS, given, strict=True) if value]
        if options:
            raise refusal(entry_point.function, f"{', '.join(options)} must not be given: nothing is searched for")
        return SearchPlan((), stated.metric, 0, None, {}, entry_point)
    return SearchPlan(
        models=settings.candidates or stated.models,
        metric=stated.metric,
        budget_seconds=stated.budget_seconds if settings.budget_seconds is None else settings.budget_seconds,
        trials=stated.trials if settings.trials is None else settings.trials,
        monotone=stated.monotone,
    )


def tune(found: Evaluations, plan: SearchPlan, seed: int) -> tuple[list[Trial], SearchSummary]:
    """Tune the families that can be; the trials in order, and how it went."""
    families = [family for family in offered(plan.models, found.dataset, plan.monotone) if is_tunable(family)]
    if not families or not plan.tunes:
        return [], SearchSummary()
    optuna = _optuna()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    searches = [_FamilySearch(found, family, plan, seed + at) for at, family in enumerate(families)]
    budget, begun = CORES * plan.budget_seconds, time.monotonic()
    most_clock = max(LEAST_CLOCK_SECONDS, CLOCK_FACTOR * plan.budget_seconds)
    trials: list[Trial] = []
    is_cut = False
    shown = Progress("search", plan.trials or round(budget), "trials" if plan.trials else "s of the budget")
    while True:
        spent = sum(search.spent for search in searches)
        room = BATCH if plan.trials is None else min(BATCH, plan.trials - len(trials))
        left = [search for search in searches if search.count < MOST_TRIALS]
        if not left:
            break
        search = _next(left)
        if room <= 0 or (plan.trials is None and spent + search.cheapest > budget):
            break
        if plan.trials is None and time.monotonic() - begun > most_clock:
            is_cut = True
            break
        trials += search.batch(room, len(trials), budget - spent if plan.trials is None else None)
        shown.show(len(trials) if plan.trials else min(round(spent), round(budget)))
    summary = _summary(trials, sum(search.spent for search in searches), time.monotonic() - begun, is_cut=is_cut)
    _tell(summary, plan)
    return trials, summary


def _optuna() -> Any:
    """The library, which takes half a second to import: only a search needs it, and every stage imports this module."""
    import optuna  # noqa: PLC0415

    return optuna


class _FamilySearch:
    """One family's study: what it spent, by the cost model, and the best of its trials."""

    def __init__(self, found: Evaluations, family: Family, plan: SearchPlan, seed: int) -> None:
        self.found, self.family, self.metric = found, family, plan.metric
        self.choices: Choices = choices_of(found.dataset, family, plan.metric, plan.monotone)
        optuna = _optuna()
        self._ends = optuna.trial.TrialState
        self.study = optuna.create_study(
            sampler=optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=STARTUP_TRIALS, multivariate=True, constant_liar=True
            ),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_min_trials=4),
        )
        self.spent = 0.0
        self.count = 0
        self.best = np.inf
        first = self._draw_first()
        self.cheapest = found.cost(first) * found.folds

    def batch(self, size: int, begin: int, room: float | None) -> list[Trial]:
        """The next trials, numbered from `begin` on; without a `room` in seconds, all of them, whatever they cost."""
        drawn: list[tuple[Any, Recipe]] = []
        planned = 0.0
        for _ in range(size):
            trial = self.study.ask()
            recipe = self._suggest(trial)
            planned += self.found.cost(recipe) * self.found.folds
            drawn.append((trial, recipe))
            if room is not None and planned > room:
                break
        trials = self._run(drawn)
        self.count += len(trials)
        return [msgspec.structs.replace(trial, number=begin + at) for at, trial in enumerate(trials)]

    def _suggest(self, trial: Any) -> Recipe:
        return shortened(suggest(trial, self.family, self.choices), self.found.dataset)

    def _draw_first(self) -> Recipe:
        """The family as it comes: its fits are there already, from the comparison."""
        self.study.enqueue_trial(first_parameters(self.family, self.choices))
        trial = self.study.ask()
        recipe = self._suggest(trial)
        self._run([(trial, recipe)])
        self.spent = 0.0
        return recipe

    def _run(self, drawn: list[tuple[Any, Recipe]]) -> list[Trial]:
        """Fold by fold for all of them; what is worse than the median, or fails, gets no more folds."""
        states: dict[int, Trial] = {}
        done = 0
        for rung, share in enumerate(RUNGS):
            end = max(done + 1, round(share * self.found.folds)) if done < self.found.folds else done
            active = [(at, recipe) for at, (_, recipe) in enumerate(drawn) if at not in states]
            self.found.make([(recipe, number) for _, recipe in active for number in range(done, end)])
            self.spent += sum(self.found.cost(recipe) * (end - done) for _, recipe in active)
            done = end
            for at, recipe in active:
                state = self._judge(drawn[at][0], recipe, done, rung)
                if state is not None:
                    states[at] = state
        return [states[at] for at in range(len(drawn))]

    def _judge(self, trial: Any, recipe: Recipe, folds: int, rung: int) -> Trial | None:
        """The trial's end, or None while it goes on."""
        numbers = range(folds)
        seconds = sum(self.found.outcome(recipe, number).seconds for number in numbers)
        if reason := self.found.failure(recipe, numbers):
            self.study.tell(trial, state=self._ends.FAIL)
            log.warning("a trial of %s failed, and the search goes on: %s", self.family.name, reason)
            return Trial(0, recipe, "failed", None, folds, seconds, reason)
        error = self._error(recipe, folds)
        trial.report(error, rung)
        if folds == self.found.folds:
            self.study.tell(trial, error)
            self.best = min(self.best, error)
            return Trial(0, recipe, "complete", error, folds, seconds)
        if trial.should_prune():
            self.study.tell(trial, state=self._ends.PRUNED)
            return Trial(0, recipe, "pruned", error, folds, seconds)
        return None

    def _error(self, recipe: Recipe, folds: int) -> float:
        """The error over the first folds."""
        dataset = self.found.dataset
        rows = np.concatenate([self.found.splits[number][1] for number in range(folds)])
        predictions = np.concatenate([self.found.outcome(recipe, number).predictions for number in range(folds)])
        return error_of(dataset.target[rows] - predictions, dataset.row_weights[rows], self.metric)


def _next(searches: list[_FamilySearch]) -> _FamilySearch:
    """The family whose turn it is: the best one gets twice the second one's share, three times the third one's."""
    ranked = sorted(searches, key=lambda search: search.best)
    return min(ranked, key=lambda search: search.spent * (1 + ranked.index(search)))


def _summary(trials: list[Trial], planned: float, seconds: float, *, is_cut: bool) -> SearchSummary:
    counts = {state: sum(trial.state == state for trial in trials) for state in ("complete", "pruned", "failed")}
    return SearchSummary(**counts, planned_seconds=planned, seconds=seconds, is_cut=is_cut)


def _tell(summary: SearchSummary, plan: SearchPlan) -> None:
    if not summary.trials:
        log.warning("training.budget_seconds: %g is too little for one trial: no model is tuned", plan.budget_seconds)
    if summary.is_cut:
        log.warning(
            "the clock ended the search after %d trials in %.0f s: training.trials: %d makes this model again",
            summary.trials, summary.seconds, summary.trials,
        )  # fmt: skip
    if summary.trials:
        log.info(
            "search: %d trials, %d of them ended early, %d failed, in %.0f s",
            summary.trials, summary.pruned, summary.failed, summary.seconds,
        )  # fmt: skip
