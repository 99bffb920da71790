"""The parent's side of an entry point: an estimator that lives in a limited process of its own."""

import weakref
from collections.abc import Callable
from typing import Any, Self

from beacon_retraining.data.dataset import Matrix
from beacon_retraining.training.columns import ModelColumn
from beacon_retraining.training.entry_point.code import TrainingCode
from beacon_retraining.training.entry_point.errors import EntryPointError, refusal
from beacon_retraining.training.entry_point.inputs import TrainingInputs
from beacon_retraining.training.entry_point.served import build_estimator, fit_estimator, predict_rows, serve
from beacon_retraining.training.limited_process import LOOK_SECONDS, LimitedProcess, memory_of_each

ALL_CORES = -1


class EntryPointModel:
    """One estimator of an entry point for the graph's `columns`; its process ends with this object.

    Every method raises `EntryPointError` where the code breaks a rule, and where it hangs, crashes or takes too much.
    """

    def __init__(self, entry_point: TrainingCode, columns: tuple[ModelColumn, ...], target: str, seed: int) -> None:
        self.entry_point = entry_point
        self.columns = columns
        self._most_bytes = memory_of_each(ALL_CORES)
        self._process = LimitedProcess(serve, entry_point, columns)
        weakref.finalize(self, self._process.end)
        self.ask("building the estimator", build_estimator, inputs_of(columns, target, seed))

    def fit(self, numbers: Matrix, target: Matrix, weights: Matrix | None = None) -> Self:
        """Fit the estimator to `numbers` (rows, columns)."""
        self.ask("the fit", fit_estimator, numbers, target, weights)
        return self

    def predict(self, numbers: Matrix) -> Matrix:
        """Predictions, shape (rows,)."""
        answers: Matrix = self.ask("the prediction", predict_rows, numbers)
        return answers

    def ask(self, what: str, step: Callable[..., Any], *arguments: Any) -> Any:
        """Let the process do a step, a function of a module: `step(served, *arguments)`."""
        try:
            self._process.begin((step, arguments), self.entry_point.most_seconds)
            while not self._process.pipe.poll(LOOK_SECONDS):
                if reason := self._process.excess(self._most_bytes):
                    self._process.end()
                    key = " (training.fit_seconds)" if self._process.is_late else ""
                    raise self._refused(f"{what} {reason}{key}")
            reason, answer = self._process.pipe.recv()
        except (EOFError, ConnectionError) as error:
            raise self._refused(f"{what} crashed: {self._process.ending()}") from error
        if reason:
            raise self._refused(f"{what}: {reason}")
        return answer

    def _refused(self, reason: str) -> EntryPointError:
        return refusal(self.entry_point.function, reason)


def inputs_of(columns: tuple[ModelColumn, ...], target: str, seed: int) -> TrainingInputs:
    """What the function gets for a table of these columns."""

    def named(kind: str) -> list[str]:
        return [column.name for column in columns if column.kind == kind]

    return TrainingInputs(named("text"), named("flag"), named("number"), target, seed)
