"""One run of the model for all the requests of a round of the event loop.

The loop takes all that has arrived in one round. Each request brings its rows and lets the others come as far; the
first to go on asks the model for all of them. Eight rows in one run cost little more than one, and what every request
does before and after stays in the processor's caches. Nobody waits for requests that have not arrived yet, and who has
been alone for a while looks only now and then whether others come.
"""

import time
from collections.abc import Callable, Generator
from types import coroutine

import numpy as np

from beacon_inference.matrix import Matrix
from beacon_inference.models.model import ROWS_A_RUN, Model

# After so many rounds of one request the next do not wait; every so many of them still does, to see whether it has
# company.
ALONE_ROUNDS = 16


class _Round:
    """Rows that are asked for together, and the answers, once there are any."""

    __slots__ = ("answers", "failed", "model", "rows", "size")

    def __init__(self, model: Model) -> None:
        self.model = model
        self.rows: list[Matrix] = []
        self.size = 0
        self.answers: list[float] | None = None
        self.failed = False


class Rounds:
    """Asks a model for the requests of one event loop; `took` is told the seconds of every run."""

    def __init__(self, took: Callable[[float], None]) -> None:
        self._took = took
        self._open: _Round | None = None
        self._alone = 0

    async def predict(self, model: Model, rows: Matrix) -> list[float]:
        """Predict complete rows (n, features), n values in the target's unit; raises what the model does."""
        if self._open is None and self._expects_nobody():
            return self._run(model, rows)
        shared = self._open
        if shared is None or shared.model is not model or shared.size + len(rows) > ROWS_A_RUN:
            shared = self._open = _Round(model)
        first, last = shared.size, shared.size + len(rows)
        shared.rows.append(rows)
        shared.size = last
        await _let_others_come()
        if self._open is shared:
            self._open = None
            self._alone = self._alone + 1 if len(shared.rows) == 1 else 0
        if shared.answers is None and not shared.failed and len(shared.rows) > 1:
            try:
                shared.answers = self._run(model, np.concatenate(shared.rows))
            except Exception:  # noqa: BLE001 - whatever it was, the rows of one must not be the end of the others
                shared.failed = True
        return self._run(model, rows) if shared.answers is None else shared.answers[first:last]

    def _expects_nobody(self) -> bool:
        if self._alone < ALONE_ROUNDS or self._alone % ALONE_ROUNDS == 0:
            return False
        self._alone += 1
        return True

    def _run(self, model: Model, rows: Matrix) -> list[float]:
        began = time.perf_counter()
        answers = model.predict(rows)
        self._took(time.perf_counter() - began)
        return answers


@coroutine
def _let_others_come() -> Generator[None]:
    """Go on once every request that has arrived has had its turn."""
    yield
