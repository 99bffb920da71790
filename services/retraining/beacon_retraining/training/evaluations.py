"""Evaluations: held-out predictions of recipes on the folds of a search, each fit made once."""

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence

import msgspec
import numpy as np

from beacon_core.model_package.recipe import Recipe
from beacon_retraining.data.dataset import Dataset, Matrix
from beacon_retraining.training.cost import fit_seconds
from beacon_retraining.training.crossval import Task, fit_all
from beacon_retraining.training.journal import FitOutcome, Journal, JournalFile
from beacon_retraining.training.splits import Split
from beacon_retraining.training.trial_processes import TimedTask, TrialProcesses

SLOWEST = 30.0
"""A fit may take so many times what the cost model says."""
LEAST_SECONDS = 60.0

Runner = Callable[[Sequence[Task]], Iterator[tuple[int, FitOutcome]]]
Place = tuple[Recipe, int]
"""A fit of the search: a recipe, and the number of its split."""


class Evaluations:
    """The outcomes of fits, by recipe and split; `splits` are the search's, repeat by repeat."""

    def __init__(
        self, dataset: Dataset, splits: list[Split], repeats: int, run: Runner, journal: Journal | None
    ) -> None:
        self.dataset, self.splits, self.repeats = dataset, splits, repeats
        self._run, self._journal = run, journal
        self._known: dict[str, FitOutcome] = {}

    @property
    def folds(self) -> int:
        """The splits of one repeat."""
        return len(self.splits) // self.repeats

    def cost(self, recipe: Recipe) -> float:
        """Seconds of one core for one fit, by the cost model."""
        rows = max(len(train) for train, _ in self.splits)
        return fit_seconds(recipe, self.dataset, rows)

    def make(self, places: Sequence[Place]) -> None:
        """Make the fits that are not there yet."""
        wanted = {self._key(place): place for place in places}
        if self._journal is not None:
            for key in wanted:
                if key not in self._known and (outcome := self._journal.get(key)) is not None:
                    self._known[key] = outcome
        missing = [key for key in wanted if key not in self._known]
        tasks = [Task(recipe, self.splits[number]) for recipe, number in map(wanted.__getitem__, missing)]
        for number, outcome in self._run(tasks):
            self._known[missing[number]] = outcome
            if self._journal is not None:
                self._journal.add(missing[number], outcome)

    def outcome(self, recipe: Recipe, number: int) -> FitOutcome:
        """The outcome of a fit that was made."""
        return self._known[self._key((recipe, number))]

    def failure(self, recipe: Recipe, numbers: Sequence[int]) -> str:
        """Why one of the fits failed; empty where none did."""
        return next((text for number in numbers if (text := self.outcome(recipe, number).failure)), "")

    def held_out(self, recipe: Recipe, repeats: int) -> Matrix:
        """The held-out predictions of the first repeats, (repeats, all rows); NaN where a row was not held out."""
        table = np.full((repeats, len(self.dataset.target)), np.nan)
        for number in range(repeats * self.folds):
            table[number // self.folds, self.splits[number][1]] = self.outcome(recipe, number).predictions
        return table

    @staticmethod
    def _key(place: Place) -> str:
        recipe, number = place
        return f"{hashlib.sha256(msgspec.json.encode(recipe, order='deterministic')).hexdigest()} {number}"


def in_this_process(dataset: Dataset, seed: int, jobs: int) -> Runner:
    """Fits by joblib, for a comparison without tuning: what fails ends the training."""

    def run(tasks: Sequence[Task]) -> Iterator[tuple[int, FitOutcome]]:
        answers = fit_all(dataset, tasks, seed, jobs, "cross-validation") if tasks else []
        for number, answer in enumerate(answers):
            yield number, FitOutcome(answer.predictions[0], answer.seconds)

    return run


@contextlib.contextmanager
def isolated(dataset: Dataset, seed: int, jobs: int) -> Iterator[Runner]:
    """Fits in processes of their own, with limits of time and memory."""
    with TrialProcesses(dataset, seed, jobs) as processes:

        def run(tasks: Sequence[Task]) -> Iterator[tuple[int, FitOutcome]]:
            return processes.run([TimedTask(task, _most_seconds(task, dataset)) for task in tasks])

        yield run


@contextlib.contextmanager
def evaluations(
    dataset: Dataset,
    splits: list[Split],
    repeats: int,
    *,
    seed: int,
    jobs: int,
    journal: JournalFile | None,
    tunes: bool,
) -> Iterator[Evaluations]:
    """The evaluations of a search; only one that tunes needs processes of its own, and a journal."""
    with contextlib.ExitStack() as stack:
        if not tunes:
            yield Evaluations(dataset, splits, repeats, in_this_process(dataset, seed, jobs), None)
            return
        run = stack.enter_context(isolated(dataset, seed, jobs))
        own = (
            None
            if journal is None
            else stack.enter_context(Journal(journal.file, _search_key(journal.code, dataset, splits, seed)))
        )
        yield Evaluations(dataset, splits, repeats, run, own)


def _most_seconds(task: Task, dataset: Dataset) -> float:
    return max(LEAST_SECONDS, SLOWEST * fit_seconds(task.recipe, dataset, len(task.split[0])))


def _search_key(code: str, dataset: Dataset, splits: list[Split], seed: int) -> str:
    """A digest of all that a fit follows from, beside its recipe."""
    found = hashlib.sha256(f"{code} {dataset.fingerprint} {dataset.schema.digest} {seed}".encode())
    for train, test in splits:
        found.update(train.astype("<i8").tobytes())
        found.update(test.astype("<i8").tobytes())
    return found.hexdigest()
