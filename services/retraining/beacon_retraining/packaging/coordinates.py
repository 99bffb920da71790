"""The coordinates of a model's terms: tensors of its graph, and which player moves each of them."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from beacon_core.model_package.batch_model import FEATURES
from beacon_core.model_package.explanation.file import Index, Matrix
from beacon_core.model_package.session import open_session
from beacon_retraining.packaging.graph_terms import GraphReader, NoTermsError

ROWS_AT_ONCE = 2000
PROBED_FROM = 3
"""Rows in which each player's values are tried."""
MOST_VALUES, FEWEST_VALUES = 3000, 24
"""Values of one player that are tried."""
MOST_CELLS = 30_000_000
"""Values of all rows that are tried, about: fewer of each player where there are many."""


class Coordinates:
    """The tensors beside each other: `values` (rows, coordinates) of `rows`; `first` has each tensor's first one.

    `graph` and `outputs` compute them; both are empty where they are the model's columns.
    """

    def __init__(self, reader: GraphReader, tensors: list[str], rows: NDArray[np.float32]) -> None:
        self.graph = b""
        self.outputs: tuple[str, ...] = ()
        self._run: Callable[[NDArray[np.float32]], list[Matrix]] = lambda rows: [rows.astype(np.float64)]
        places = [0] * len(tensors)
        if not all(map(reader.is_features, tensors)):
            self.graph, self.outputs = reader.graph_of(tensors)
            session = open_session(self.graph)
            self._run = lambda rows: session.run(list(self.outputs), {FEATURES: rows})
            widths = [output.shape[1] for output in self._run(rows[:1])]
            places = np.cumsum([0, *widths[:-1]]).tolist()
        self.first: dict[str, int] = dict(zip(tensors, places, strict=True))
        self.values = self.of(rows)

    def of(self, rows: NDArray[np.float32]) -> Matrix:
        """The coordinates (rows, coordinates) of rows of the model's columns."""
        parts = [np.hstack(self._run(rows[at : at + ROWS_AT_ONCE])) for at in range(0, len(rows), ROWS_AT_ONCE)]
        return np.concatenate(parts)


def find_players(coordinates: Coordinates, rows: NDArray[np.float32], player: Index, players: int) -> Index:
    """The player that moves each coordinate, found by trying every player's values in some rows.

    A coordinate that none moves is constant: it belongs to any. Raises `NoTermsError` where several move one, or where
    too few values can be tried to see what moves it.
    """
    if not coordinates.graph:
        return player
    cells = PROBED_FROM * players * max(rows.shape[1], coordinates.values.shape[1])
    most = min(MOST_VALUES, max(FEWEST_VALUES, MOST_CELLS // cells))
    found = np.full(coordinates.values.shape[1], -1)
    for each in range(players):
        own = np.flatnonzero(player == each)
        if not len(own):
            continue
        moved = np.zeros(len(found), dtype=bool)
        for row in rows[np.linspace(0, len(rows) - 1, PROBED_FROM).astype(int)]:
            tried = np.tile(row, (len(values := _values(rows[:, own], most)), 1))
            tried[:, own] = values
            answers = coordinates.of(tried)
            moved |= (answers != answers[0]).any(axis=0)
        if (found[moved] >= 0).any():
            raise NoTermsError("a column inside the model is made of several features")
        found[moved] = each
    if ((found < 0) & (np.ptp(coordinates.values, axis=0) > 0)).any():
        raise NoTermsError("a column inside the model is made of values that are too many to try")
    return np.where(found < 0, 0, found)


def _values(own: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    """A player's values among the rows, and some that no row has, such as the number of an unseen level."""
    known = np.unique(own, axis=0)
    known = known[np.linspace(0, len(known) - 1, min(len(known), most)).astype(int)]
    return np.concatenate([known, known.max(axis=0, keepdims=True) + 1, known.min(axis=0, keepdims=True) - 1])
