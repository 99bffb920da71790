"""Trials in processes of their own: one that crashes, hangs or takes too much memory is ended, and the others go on.

joblib's workers, which the rest of training uses, cannot be ended one by one. These can: each has a pipe, and the
parent ends the one whose fit is over its time or memory, and starts another in its place.
"""

import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Self

import joblib
import msgspec
import numpy as np

from beacon_retraining.data.dataset import Dataset
from beacon_retraining.training.crossval import Task, fit_one
from beacon_retraining.training.journal import FitOutcome
from beacon_retraining.training.limited_process import LOOK_SECONDS, LimitedProcess, memory_of_each


class TimedTask(msgspec.Struct, frozen=True):
    """A task, and the seconds that it may take."""

    task: Task
    most_seconds: float


class _Worker:
    """One process, and the number of the task that it is at."""

    def __init__(self, file: Path, seed: int) -> None:
        self.process = LimitedProcess(_serve, str(file), seed)
        self.number: int | None = None

    def give(self, number: int, timed: TimedTask) -> None:
        """Give it a task."""
        self.number = number
        self.process.begin(timed.task, timed.most_seconds)


class TrialProcesses:
    """Runs tasks in `jobs` processes (-1: one per core) that may take `most_bytes` each; a context manager."""

    def __init__(self, dataset: Dataset, seed: int, jobs: int, most_bytes: float | None = None) -> None:
        self._count = joblib.cpu_count() if jobs < 0 else jobs
        self._most_bytes = most_bytes or memory_of_each(self._count)
        self._seed, self._dataset = seed, dataset
        self._folder = tempfile.TemporaryDirectory(prefix="beacon-trials-")
        self._file = Path(self._folder.name) / "dataset"
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        joblib.dump(self._dataset, self._file)  # the workers map its arrays: one copy serves all
        return self

    def __exit__(self, *_error: object) -> None:
        for worker in self._workers:
            worker.process.end()
        self._folder.cleanup()

    def run(self, tasks: Sequence[TimedTask]) -> Iterator[tuple[int, FitOutcome]]:
        """Each task's number and outcome, as they come."""
        left = deque(enumerate(tasks))
        while left or any(worker.number is not None for worker in self._workers):
            while len(self._workers) < min(self._count, len(tasks)):
                self._workers.append(_Worker(self._file, self._seed))
            for worker in self._workers:
                if worker.number is None and left:
                    worker.give(*left.popleft())
            busy = [worker for worker in self._workers if worker.number is not None]
            ready = wait([worker.process.pipe for worker in busy], LOOK_SECONDS)
            for worker in busy:
                outcome = self._outcome(worker, is_ready=worker.process.pipe in ready)
                if outcome is not None and worker.number is not None:
                    yield worker.number, outcome
                    worker.number = None

    def _outcome(self, worker: _Worker, *, is_ready: bool) -> FitOutcome | None:
        """What became of the worker's task; None while it is at it. A worker that failed hard is replaced."""
        if is_ready:
            try:
                outcome: FitOutcome = worker.process.pipe.recv()
            except (EOFError, ConnectionError):
                reason = worker.process.ending()
            else:
                return outcome
        elif not (reason := worker.process.excess(self._most_bytes)):
            return None
        worker.process.end()
        self._workers.remove(worker)
        return FitOutcome(np.empty(0), 0.0, reason)


def _serve(pipe: Connection, file: str, seed: int) -> None:
    """A worker: fits what comes through the pipe, until the parent is gone."""
    dataset: Dataset = joblib.load(file, mmap_mode="r")
    while True:
        task: Task = pipe.recv()
        try:
            found = fit_one(dataset, seed, task)
            outcome = FitOutcome(found.predictions[0], found.seconds)
            if not np.isfinite(outcome.predictions).all():
                outcome = FitOutcome(np.empty(0), found.seconds, "its predictions are not finite")
        except Exception as error:  # noqa: BLE001 - whatever a library raises ends this trial, not the search
            outcome = FitOutcome(np.empty(0), 0.0, f"{type(error).__name__}: {error}")
        pipe.send(outcome)
