"""The model in its form for batches: its trees as bit masks, all else as an ONNX graph.

The graph is that of the model with its trees cut out. What the trees take is an output (`COLUMNS`, double, absent where
they take the features), what they answer is an input (`TREES`, float32 (rows, 1)), and the trees' tables are outputs
that are constant.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from beacon_core.model_package.tree_masks import TreeMasks, TreeTables

FEATURES = "features"
TREES = "trees"
COLUMNS = "columns"
PREDICTION = "prediction"
TABLES = tuple(f"table_{field}" for field in TreeTables._fields)

Matrix = NDArray[np.float64]


class Session(Protocol):
    """What is used of ONNX Runtime's InferenceSession."""

    def get_inputs(self) -> Sequence[Any]: ...
    def get_outputs(self) -> Sequence[Any]: ...
    def run(self, names: Sequence[str], feeds: dict[str, Any], options: Any = None) -> list[Any]: ...


class BatchModel:
    """Answers rows as the model does; `parts_only` are ONNX Runtime's options to run what the outputs need alone."""

    def __init__(self, session: Session, parts_only: Any) -> None:
        self._session = session
        self._parts_only = parts_only
        self._has_columns = COLUMNS in [output.name for output in session.get_outputs()]
        width = session.get_inputs()[0].shape[1]
        tables = self._run(TABLES, np.zeros((1, width), np.float32), np.zeros((1, 1), np.float32))
        self._trees = TreeMasks(TreeTables(*tables))

    def predict(self, features: NDArray[np.float32]) -> Matrix:
        """Predictions (rows,) of complete rows of the graph's columns (rows, columns)."""
        trees = np.zeros((len(features), 1), np.float32)
        columns = self._run((COLUMNS,), features, trees)[0] if self._has_columns else features.astype(np.float64)
        # float32, as ONNX Runtime's trees answer: a row's answer is the same alone and in a batch.
        trees[:, 0] = self._trees(columns)
        answers: Matrix = self._run((PREDICTION,), features, trees)[0]
        return answers[:, 0]

    def _run(self, names: Sequence[str], features: NDArray[np.float32], trees: NDArray[np.float32]) -> list[Any]:
        return self._session.run(names, {FEATURES: features, TREES: trees}, self._parts_only)
