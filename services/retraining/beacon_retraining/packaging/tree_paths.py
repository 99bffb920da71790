"""Trees as the paths to their leaves, with the shares of rows that take them."""

import numpy as np

from beacon_core.model_package.explanation.file import Index, Leaves, Matrix
from beacon_retraining.packaging.graph_terms import NoTermsError
from beacon_retraining.packaging.tree_node import Trees

MOST_PLAYERS_ON_PATHS = 1_000_000
"""Players on all paths together: more take longer than sampling does."""
ROWS_AT_ONCE = 2000

Interval = tuple[float, float]


def count_rows(trees: Trees, rows: Matrix) -> Index:
    """How many of the rows (rows, columns) come through each node."""
    counts = np.zeros(len(trees.column), np.int64)
    for first in range(0, len(rows), ROWS_AT_ONCE):
        some = rows[first : first + ROWS_AT_ONCE]
        at = np.tile(trees.roots, (len(some), 1))
        row = np.broadcast_to(np.arange(len(some))[:, None], at.shape)
        row, at = row.ravel(), at.ravel()
        while len(at):
            counts += np.bincount(at, minlength=len(counts))
            goes_on = ~trees.is_leaf[at]
            row, at = row[goes_on], at[goes_on]
            right = some[row, trees.column[at]] > trees.threshold[at]
            at = np.where(right, trees.right[at], trees.left[at])
    return counts


class PathTable:
    """Collects paths, and gives them as `Leaves`; `player` (columns,) is that of each column."""

    def __init__(self, player: Index) -> None:
        self._player = player.tolist()
        self._paths: list[tuple[float, dict[int, Interval], dict[int, float]]] = []
        self._players_on_paths = 0

    def add(self, trees: Trees, counts: Index, factor: float, first: int) -> None:
        """Add every leaf, its value times `factor`; the trees' columns begin at the coordinate `first`.

        Raises `NoTermsError` for too many.
        """
        column, threshold = (trees.column + first).tolist(), trees.threshold.tolist()
        left, right, is_leaf = trees.left.tolist(), trees.right.tolist(), trees.is_leaf.tolist()
        value, rows = (factor * trees.value).tolist(), counts.tolist()
        waiting: list[tuple[int, dict[int, Interval], dict[int, float]]] = [
            (root, {}, {}) for root in trees.roots.tolist()
        ]
        while waiting:
            node, intervals, shares = waiting.pop()
            if is_leaf[node]:
                self._paths.append((value[node], intervals, shares))
                self._players_on_paths += len(shares)
                if self._players_on_paths > MOST_PLAYERS_ON_PATHS:
                    raise NoTermsError(f"the trees' paths have more than {MOST_PLAYERS_ON_PATHS} features in all")
                continue
            at, limit = column[node], threshold[node]
            above, upto = intervals.get(at, (-np.inf, np.inf))
            player = self._player[at]
            share = shares.get(player, 1.0)
            for child, interval in (
                (left[node], (above, min(upto, limit))),
                (right[node], (max(above, limit), upto)),
            ):
                # Where no training row comes by, there is no share: both ways are as likely.
                part = rows[child] / rows[node] if rows[node] else 0.5
                waiting.append((child, intervals | {at: interval}, shares | {player: share * part}))

    def leaves(self) -> tuple[Leaves, float]:
        """All paths with a player, and the sum of the values that all leaves have where no player is known."""
        paths = sorted(self._paths, key=lambda path: len(path[2]))
        base = sum(value * float(np.prod(list(shares.values()))) for value, _, shares in paths)
        player, absent, conditions = [], [], []
        ends: list[tuple[int, float, float]] = []
        for _, intervals, shares in paths:
            own: dict[int, list[tuple[int, float, float]]] = {}
            for at, (above, upto) in intervals.items():
                own.setdefault(self._player[at], []).append((at, above, upto))
            for each, share in shares.items():
                player.append(each)
                absent.append(share)
                conditions.append(len(own[each]))
                ends += own[each]
        found = np.array(ends, np.float64).reshape(-1, 3)
        leaves = Leaves(
            weight=np.array([value for value, _, _ in paths], np.float64),
            sizes=np.array([len(shares) for _, _, shares in paths], np.int64),
            player=np.array(player, np.int64),
            absent=np.array(absent, np.float64),
            conditions=np.array(conditions, np.int64),
            column=found[:, 0].astype(np.int64),
            above=np.ascontiguousarray(found[:, 1]),
            upto=np.ascontiguousarray(found[:, 2]),
        )
        return leaves, base
