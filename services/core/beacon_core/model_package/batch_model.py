"""The model in its form for batches: its trees as bit masks, all else as an ONNX graph.

The graph is that of the model with its trees cut out. What the trees take is an output (`COLUMNS`, double, absent where
they take the features), what they answer is an input (`TREES`, float32 (rows, 1)), and the trees' tables are outputs
that are constant. The trees of the intervals' spread are cut out in the same way: they take the features, and their
input and tables have names of their own.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from beacon_core.model_package.tree_kernel import compiled
from beacon_core.model_package.tree_masks import TreeMasks, TreeTables

FEATURES = "features"
TREES = "trees"
COLUMNS = "columns"
PREDICTION = "prediction"
SPREAD = "spread"
TABLES = tuple(f"table_{field}" for field in TreeTables._fields)
SPREAD_TREES = "spread_trees"
SPREAD_TABLES = tuple(f"spread_{name}" for name in TABLES)

ROWS_PER_RUN = 256
"""Larger runs are no faster, and need more memory: a kernel's intermediate results take 4 kB per row."""
BATCH_FROM = 8
"""From so many rows on, the form for batches is faster, where its trees go through numpy."""

Matrix = NDArray[np.float64]


class Session(Protocol):
    """What is used of ONNX Runtime's InferenceSession."""

    def get_inputs(self) -> Sequence[Any]: ...
    def get_outputs(self) -> Sequence[Any]: ...
    def run(self, names: Sequence[str], feeds: dict[str, Any], options: Any = None) -> list[Any]: ...


class BatchModel:
    """Answers rows as the model does; `parts_only` are ONNX Runtime's options to run what the outputs need alone.

    From `rows_from` rows on it is faster than the model itself: from one on, where its trees are compiled.
    """

    def __init__(self, session: Session, parts_only: Any) -> None:
        self._session = session
        self._parts_only = parts_only
        outputs = [output.name for output in session.get_outputs()]
        self.outputs = [name for name in (PREDICTION, SPREAD) if name in outputs]
        self._has_columns = COLUMNS in outputs
        width = session.get_inputs()[0].shape[1]
        feeds = {
            item.name: np.zeros((1, width if item.name == FEATURES else 1), np.float32) for item in session.get_inputs()
        }
        kernel = compiled()
        self.rows_from = BATCH_FROM if kernel is None else 1
        self._trees = TreeMasks(TreeTables(*self._run(TABLES, feeds)), kernel)
        has_spread = SPREAD_TREES in feeds
        self._spread_trees = TreeMasks(TreeTables(*self._run(SPREAD_TABLES, feeds)), kernel) if has_spread else None

    def predict(self, features: NDArray[np.float32]) -> Matrix:
        """The predictions alone, (rows,)."""
        predictions: Matrix = self.answers(features)[0][:, 0]
        return predictions

    def answers(self, features: NDArray[np.float32]) -> list[Matrix]:
        """The answers of `outputs`, each (rows, 1), to complete rows of the graph's columns (rows, columns)."""
        feeds = {FEATURES: features}
        columns = doubles = features.astype(np.float64)
        if self._spread_trees is not None:
            feeds[SPREAD_TREES] = _sums(self._spread_trees, doubles)
        if self._has_columns:
            feeds[TREES] = np.zeros((len(features), 1), np.float32)
            (columns,) = self._run((COLUMNS,), feeds)
        feeds[TREES] = _sums(self._trees, columns)
        return self._run(self.outputs, feeds)

    def _run(self, names: Sequence[str], feeds: dict[str, NDArray[np.float32]]) -> list[Any]:
        return self._session.run(names, feeds, self._parts_only)


def _sums(trees: TreeMasks, columns: Matrix) -> NDArray[np.float32]:
    """In float32, as ONNX Runtime's trees answer: a row's answer is the same alone and in a batch."""
    return trees(columns).astype(np.float32)[:, None]
