"""The contributions of any model, approximately: Shapley values by sampled permutations.

A walk goes from a background row to the row that is explained, one player at a time, in an order by chance; what the
answer changes at a player's step is its contribution in that walk. Each order is walked in both directions, which
cancels much of the chance (antithetic pairs: Mitchell, Cooper et al., JMLR 23, 2022). Each background row is walked
from equally often, so that the contributions sum exactly to the answer less the mean answer of the background. The
orders are seeded: the same row gets the same contributions.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Answers = Callable[[NDArray[np.float32]], Matrix]

MOST_EVALUATIONS = 4096
"""Rows that one explanation runs through the model; one pair of walks is the least."""
CELLS_AT_ONCE = 2_000_000
"""Values of rows that are made at once."""
MOST_REPEATS = 16
SEED = 21


class SampledExplainer:
    """Explains rows with `answers`, which gives the model's answers (rows,) to rows (rows, columns).

    `player` (columns,) has the number of each column's player; `background` is (rows, columns). `pairs` is how many
    pairs of walks one explanation takes.
    """

    def __init__(
        self, answers: Answers, player: NDArray[np.int64], players: int, background: NDArray[np.float32]
    ) -> None:
        self._answers = answers
        pairs = max(1, MOST_EVALUATIONS // (2 * players))
        rows = min(len(background), pairs)
        self._background = background[np.linspace(0, len(background) - 1, rows).round().astype(int)]
        self._starts = answers(self._background)
        self.base = float(self._starts.mean())
        self.pairs = rows * min(MOST_REPEATS, pairs // rows)
        orders = np.random.default_rng(SEED).permuted(np.tile(np.arange(players), (self.pairs, 1)), axis=1)
        # For each walk, the step at which a player's columns change: (walks, players).
        steps = np.argsort(np.concatenate([orders, orders[:, ::-1]]), axis=1)
        self._steps, self._column_steps = steps, steps[:, player]
        self._players = players

    def contributions(self, columns: NDArray[np.float32], answer: float) -> tuple[Matrix, Matrix]:
        """What each player adds to `answer`, and its standard error, both (players,), for one row (1, columns)."""
        walks, players, width = len(self._steps), self._players, columns.shape[1]
        start = np.tile(np.resize(np.arange(len(self._background)), walks // 2), 2)
        between = np.empty((walks, players - 1))
        at_once = max(1, CELLS_AT_ONCE // (players * width))
        for first in range(0, walks if players > 1 else 0, at_once):
            some = slice(first, first + at_once)
            # After step s, the columns of the players of the steps 0 to s are the row's.
            changed = self._column_steps[some, None, :] <= np.arange(players - 1)[None, :, None]
            rows = np.where(changed, columns[0], self._background[start[some]][:, None, :])
            between[some] = self._answers(rows.reshape(-1, width)).reshape(-1, players - 1)
        path = np.column_stack([self._starts[start], between, np.full(walks, answer)])
        gains = np.take_along_axis(np.diff(path, axis=1), self._steps, axis=1)
        pairs = (gains[: walks // 2] + gains[walks // 2 :]) / 2
        spread = pairs.std(axis=0, ddof=1) if len(pairs) > 1 else np.zeros(players)
        return pairs.mean(axis=0), spread / np.sqrt(len(pairs))
