"""The exact contributions of a model that was taken apart into terms (`file.py`)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from beacon_core.model_package.batch_model import FEATURES
from beacon_core.model_package.explanation.file import Index, Kernel, Leaves, Matrix, Slopes, Terms
from beacon_core.model_package.explanation.product_games import product_game_values
from beacon_core.model_package.session import open_session


class TermExplainer:
    """Explains rows of the model's columns, one at a time, by the terms of its answer (or of its logarithm)."""

    def __init__(self, terms: Terms, players: int) -> None:
        self.base, self.tolerance = terms.base, terms.tolerance
        self._players = players
        self._tensors = list(terms.tensors)
        self._session = open_session(terms.graph) if terms.graph else None
        self._groups = leaf_groups(terms.leaves)
        self._kernel, self._slopes = terms.kernel, terms.slopes
        self._kernel_players, self._kernel_starts = np.unique(terms.kernel.player, return_index=True)

    def contributions(self, columns: NDArray[np.float32]) -> Matrix:
        """What each player adds, (players,), to one row (1, columns)."""
        coordinates = self._coordinates(columns)
        found: Matrix = np.zeros(self._players)
        for group in self._groups:
            values = product_game_values(group.present(coordinates), group.absent, group.weight)
            found += np.bincount(group.player.ravel(), values.ravel(), self._players)
        if len(self._kernel.weight):
            present: Matrix = kernel_shares(self._kernel, self._kernel_starts, coordinates)
            values = product_game_values(present, self._kernel.absent, self._kernel.weight)
            found += np.bincount(self._kernel_players, values.sum(axis=1), self._players)
        values = slope_values(self._slopes, coordinates, self._players)
        return np.asarray(found + values)

    def _coordinates(self, columns: NDArray[np.float32]) -> Matrix:
        outputs = [columns] if self._session is None else self._session.run(self._tensors, {FEATURES: columns})
        coordinates: Matrix = np.concatenate([output[0].astype(np.float64) for output in outputs])
        return coordinates


class LeafGroup(NamedTuple):
    """The paths of one number of players: `player` and `absent` (players, paths), `weight` (paths,).

    `column`, `above` and `upto` are of all conditions, player by player; `starts` has the first condition of each
    player, None where each has one.
    """

    weight: Matrix
    player: Index
    absent: Matrix
    column: Index
    above: Matrix
    upto: Matrix
    starts: Index | None

    def present(self, coordinates: Matrix) -> Matrix:
        """1 where the row meets all conditions of a player on a path, else 0; (players, paths)."""
        values = coordinates.take(self.column)
        holds = (values > self.above) & (values <= self.upto)
        if self.starts is not None:
            holds = np.logical_and.reduceat(holds, self.starts)
        return holds.reshape(self.player.shape).astype(np.float64)


def leaf_groups(leaves: Leaves) -> list[LeafGroup]:
    """The paths by their number of players; those of one leaf alone have no player, and are part of the base."""
    ends = np.cumsum(leaves.sizes)
    condition_ends = np.cumsum(leaves.conditions)
    groups = []
    for size in np.unique(leaves.sizes[leaves.sizes > 0]).tolist():
        paths = np.flatnonzero(leaves.sizes == size)
        # By player first, so that the values of one step lie beside each other.
        elements = (ends[paths] - size)[None, :] + np.arange(size)[:, None]
        counts = leaves.conditions[elements.ravel()]
        starts = np.cumsum(counts) - counts
        first = condition_ends[elements.ravel()] - counts
        conditions = np.repeat(first - starts, counts) + np.arange(counts.sum())
        groups.append(
            LeafGroup(
                weight=leaves.weight[paths],
                player=leaves.player[elements],
                absent=np.ascontiguousarray(leaves.absent[elements]),
                column=leaves.column[conditions],
                above=leaves.above[conditions],
                upto=leaves.upto[conditions],
                starts=None if (counts == 1).all() else starts,
            )
        )
    return groups


def kernel_shares(kernel: Kernel, starts: Index, coordinates: Matrix) -> Matrix:
    """Each player's share in the kernel of a row and every point, (players, points)."""
    distances = (coordinates.take(kernel.column) - kernel.point) ** 2
    shares: Matrix = np.exp(-np.add.reduceat(distances, starts, axis=1)).T
    return np.ascontiguousarray(shares)


def slope_values(slopes: Slopes, coordinates: Matrix, players: int) -> Matrix:
    """What the slopes add, (players,)."""
    values = slopes.slope * (coordinates.take(slopes.column) - slopes.mean)
    return np.bincount(slopes.player, values, players).astype(np.float64)
