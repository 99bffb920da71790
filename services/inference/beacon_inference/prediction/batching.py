"""Micro-batching: one run of the model for all the requests of one iteration of the event loop.

The event loop reads all that has arrived in one iteration. Each request adds its rows to the open batch and yields to
the loop; the first that continues runs the model for all of them. Eight rows in one run cost little more than one, and
the code before and after the run stays in the processor's caches. No request waits for one that has not arrived. After
16 batches of one request each, only every 16th request yields, to check whether others arrive with it.

Many rows of one request are several runs, and other requests have their turn in between.
"""

import time
from collections.abc import Callable, Generator
from types import coroutine

import numpy as np

from beacon_core.model_package.batch_model import ROWS_PER_RUN
from beacon_inference.matrix import Matrix
from beacon_inference.models.model import Model, ModelAnswers

# After this many batches of one request the next do not yield; every n-th of them still does.
SINGLE_BATCHES = 16


class _Batch:
    """Rows that share a run of the model, and its answers after the run."""

    __slots__ = ("answers", "failed", "model", "rows", "size")

    def __init__(self, model: Model) -> None:
        self.model = model
        self.rows: list[Matrix] = []
        self.size = 0
        self.answers: ModelAnswers | None = None
        self.failed = False


class MicroBatcher:
    """Runs a model for the requests of one event loop; `observe` is called with the seconds of every run."""

    def __init__(self, observe: Callable[[float], None]) -> None:
        self._observe = observe
        self._open: _Batch | None = None
        self._singles = 0

    async def predict(self, model: Model, rows: Matrix) -> ModelAnswers:
        """Predict complete rows (n, features). Raises the model's exceptions."""
        if len(rows) > ROWS_PER_RUN:
            return await self._predict_in_parts(model, rows)
        if self._open is None and self._is_alone():
            return self._run(model, rows)
        batch = self._open
        if batch is None or batch.model is not model or batch.size + len(rows) > ROWS_PER_RUN:
            batch = self._open = _Batch(model)
        first, last = batch.size, batch.size + len(rows)
        batch.rows.append(rows)
        batch.size = last
        await _yield_to_event_loop()
        if self._open is batch:
            self._open = None
            self._singles = self._singles + 1 if len(batch.rows) == 1 else 0
        if batch.answers is None and not batch.failed and len(batch.rows) > 1:
            try:
                batch.answers = self._run(model, np.concatenate(batch.rows))
            except Exception:  # noqa: BLE001 - whatever it was, the rows of one request must not fail the others
                batch.failed = True
        return self._run(model, rows) if batch.answers is None else batch.answers.part(first, last)

    async def _predict_in_parts(self, model: Model, rows: Matrix) -> ModelAnswers:
        values: list[float] = []
        spreads: list[float] = []
        for first in range(0, len(rows), ROWS_PER_RUN):
            answers = self._run(model, rows[first : first + ROWS_PER_RUN])
            values += answers.values
            spreads += answers.spreads or ()
            await _yield_to_event_loop()  # behind the last run, too: making the response takes as long as a run
        return ModelAnswers(values, spreads or None)

    def _is_alone(self) -> bool:
        """Whether the last batches had one request each, and this request need not yield to check again."""
        if self._singles < SINGLE_BATCHES or self._singles % SINGLE_BATCHES == 0:
            return False
        self._singles += 1
        return True

    def _run(self, model: Model, rows: Matrix) -> ModelAnswers:
        began = time.perf_counter()
        answers = model.predict(rows)
        self._observe(time.perf_counter() - began)
        return answers


@coroutine
def _yield_to_event_loop() -> Generator[None]:
    """Continue once every request that has arrived has had its turn."""
    yield
