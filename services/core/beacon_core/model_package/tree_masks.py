"""Many rows through an ensemble of trees at once, with bit masks: a third of the time that ONNX Runtime takes.

Each leaf of a tree is one bit. A value above a branch's threshold excludes the leaves on the branch's left. For each
column, a table has the leaves that remain after all thresholds below a value, so that a row needs one line per column:
the first leaf that all of them leave is the tree's answer. After QuickScorer (Lucchese et al., SIGIR 2015). The work is
numpy's, or that of compiled code where the environment has it (`tree_kernel`).
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from beacon_core.model_package.tree_kernel import MOST_LEAVES, KernelPart, TreeKernel

ALL_LEAVES = np.uint32(0xFFFFFFFF)
TREES_PER_TABLE = 300
"""Each so many trees have tables of their own, whose lines are of these trees' thresholds alone: half the memory."""
MASKS_PER_BLOCK = 40_000
MOST_BLOCK_ROWS = 256
"""Rows are taken in blocks of so many masks, which stay in the processor's cache."""
# The exponent of a double is the place of its highest bit: a mask fits into one exactly.
MANTISSA_BITS, EXPONENT_BIAS = 52, 1023

Matrix = NDArray[np.float64]


class TreeTables(NamedTuple):
    """The branches of all trees (arrays of equal length) and their leaves' values.

    A branch goes right where the value in `column` is above `threshold`; `mask` has all bits but those of the leaves on
    its left. `leaves` is (trees, MOST_LEAVES), by bit: the leftmost leaf of a tree is the highest bit.
    """

    column: NDArray[np.int64]
    threshold: Matrix
    tree: NDArray[np.int64]
    mask: NDArray[np.uint32]
    leaves: Matrix


def table_bytes(tables: TreeTables) -> int:
    """The memory that `TreeMasks` needs for these trees."""
    return sum(_lines(part) * len(part.leaves) for part in _parts(tables)) * ALL_LEAVES.nbytes


class TreeMasks:
    """An ensemble of trees, ready for batches; `compiled` is the function of `tree_kernel`, or None for numpy."""

    def __init__(self, tables: TreeTables, compiled: Any = None) -> None:
        self._parts = [_Part(part) for part in _parts(tables)]
        self._trees = len(tables.leaves)
        self._kernel: TreeKernel | None = None
        if compiled is not None:
            self._kernel = TreeKernel(compiled, [KernelPart(part.columns, part.leaves) for part in self._parts])

    def __call__(self, columns: Matrix) -> Matrix:
        """The sum of the trees' answers, (rows,), for complete `columns` (rows, columns)."""
        if self._kernel is not None:
            return self._kernel(columns)
        answers = np.empty((len(columns), self._trees))
        first = 0
        for part in self._parts:
            part.answer(columns, answers[:, first : first + part.trees])
            first += part.trees
        sums: Matrix = answers.sum(axis=1)
        return sums


class _Part:
    """Some of the trees."""

    def __init__(self, tables: TreeTables) -> None:
        self.trees = len(tables.leaves)
        self._block_rows = max(1, min(MASKS_PER_BLOCK // self.trees, MOST_BLOCK_ROWS))
        self.columns: list[tuple[int, Matrix, NDArray[np.uint32]]] = []
        for column in np.unique(tables.column).tolist():
            own = tables.column == column
            thresholds, place = np.unique(tables.threshold[own], return_inverse=True)
            remaining = np.full((len(thresholds) + 1, self.trees), ALL_LEAVES)
            np.bitwise_and.at(remaining, (place + 1, tables.tree[own]), tables.mask[own])
            np.bitwise_and.accumulate(remaining, axis=0, out=remaining)
            self.columns.append((column, thresholds, remaining))
        self.leaves = np.ascontiguousarray(tables.leaves, dtype=np.float64)
        self._first = np.arange(self.trees) * MOST_LEAVES - EXPONENT_BIAS

    def answer(self, columns: Matrix, answers: Matrix) -> None:
        """Write each tree's answer to each row into `answers` (rows, trees)."""
        for first in range(0, len(columns), self._block_rows):
            rows = slice(first, first + self._block_rows)
            answers[rows] = self.leaves.ravel().take(self._leaf(columns[rows]))

    def _leaf(self, columns: Matrix) -> NDArray[np.int64]:
        remaining = np.full((len(columns), self.trees), ALL_LEAVES)
        found = np.empty_like(remaining)
        for column, thresholds, table in self.columns:
            # The number of thresholds below each value. mode: with `out`, numpy else makes a copy.
            table.take(thresholds.searchsorted(columns[:, column]), axis=0, out=found, mode="clip")
            np.bitwise_and(remaining, found, out=remaining)
        leaf = remaining.astype(np.float64).view(np.int64) >> MANTISSA_BITS
        leaf += self._first
        return leaf


def _parts(tables: TreeTables) -> Iterator[TreeTables]:
    for first in range(0, len(tables.leaves), TREES_PER_TABLE):
        own = (tables.tree >= first) & (tables.tree < first + TREES_PER_TABLE)
        leaves = tables.leaves[first : first + TREES_PER_TABLE]
        yield TreeTables(tables.column[own], tables.threshold[own], tables.tree[own] - first, tables.mask[own], leaves)


def _lines(tables: TreeTables) -> int:
    columns = np.unique(tables.column)
    return len(columns) + sum(len(np.unique(tables.threshold[tables.column == column])) for column in columns)
