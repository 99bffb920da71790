"""The spread as a second output of a model's graph, whatever the model is, so that one run answers both.

Input is the graph's own `features`, and its `prediction` where the spread follows that. Output `spread` is double
(rows, 1). The trees are a node of their own: one node with two targets takes 15 % longer for one row.
"""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnxruntime import InferenceSession

from beacon_core.model_package.batch_model import FEATURES, PREDICTION, ROWS_PER_RUN, SPREAD
from beacon_core.model_package.session import open_session
from beacon_retraining.data.dataset import Matrix
from beacon_retraining.packaging.export import OPSETS, TREES, Graph, ParityError, add_trees
from beacon_retraining.training.batches import over_batches
from beacon_retraining.training.spread import Spread

RELATIVE_TOLERANCE = 1e-5
"""How far ONNX may be from scikit-learn, as a share of the row's spread."""
PREFIX = "spread_"
FAR_ROWS = 20_000


class SpreadError(ParityError):
    """The spread of a row is not a positive number."""


def add_spread(content: bytes, spread: Spread) -> bytes:
    """The serialized model with the output `spread`; the model itself for a spread of one width."""
    if spread.is_constant:
        return content
    model = onnx.load_from_string(content)
    graph = Graph(PREFIX)
    factors = []
    if "trees" in spread.kind:
        factors.append(graph.node("Exp", add_trees(graph, [(spread.trees, 1.0)], graph.double(FEATURES))))
    if "prediction" in spread.kind:
        predictions = graph.double(PREDICTION)
        factors.append(graph.node("Max", predictions, graph.constant(np.array([[spread.floor]]))))
    product = factors[0] if len(factors) == 1 else graph.node("Mul", *factors)
    graph.node("Mul", product, graph.constant(np.array([[spread.scale]])), output=SPREAD)
    model.graph.node.extend(graph.nodes)
    model.graph.initializer.extend(graph.constants)
    model.graph.output.append(helper.make_tensor_value_info(SPREAD, TensorProto.DOUBLE, [None, 1]))
    _import_trees(model)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _import_trees(model: onnx.ModelProto) -> None:
    """Raise the operator set of trees to that of ours: converters name the oldest that they need."""
    for entry in model.opset_import:
        if entry.domain == TREES:
            entry.version = max(entry.version, OPSETS[TREES])
            return
    model.opset_import.append(helper.make_opsetid(TREES, OPSETS[TREES]))


def run_with_spread(session: InferenceSession, columns: Matrix) -> tuple[Matrix, Matrix]:
    """Predictions and spreads of any number of rows, each (rows,); of a graph without the output, spreads of 1."""
    names = [output.name for output in session.get_outputs()]

    def answers(part: slice) -> Matrix:
        return np.hstack(session.run(names, {FEATURES: columns[part].astype(np.float32)})).astype(np.float64)

    found = np.concatenate(over_batches(len(columns), ROWS_PER_RUN, answers))
    by_name = dict(zip(names, found.T, strict=True))
    return by_name[PREDICTION], by_name.get(SPREAD, np.ones(len(columns)))


def check_spread(content: bytes, spread: Spread, columns: Matrix, levels: Sequence[int] = ()) -> None:
    """Compare ONNX Runtime with scikit-learn on every row, and look at rows far out of any range.

    `levels` are the columns of numbers of levels, which are never out of range.
    Of many rows, `FAR_ROWS` are moved so far: what is asked there is a property of the trees, not of the rows.

    Raises `ParityError` where they differ, `SpreadError` where a spread is not positive and finite.
    """
    if spread.is_constant:
        return
    session = open_session(content)
    predictions, found = run_with_spread(session, columns)
    wanted = spread.of(columns, predictions)
    difference = np.abs(found - wanted) / wanted
    worst = int(difference.argmax())
    if not difference[worst] <= RELATIVE_TOLERANCE:
        raise ParityError(
            f"row {worst + 1}: the spread of ONNX differs from scikit-learn's by {difference[worst]:.2g} of it, "
            f"at most {RELATIVE_TOLERANCE:g} may be"
        )
    some = columns[np.linspace(0, len(columns) - 1, min(len(columns), FAR_ROWS)).astype(int)]
    far = np.concatenate([some + shift * (1 + np.abs(some)) for shift in (-1e3, 1e3)])
    far[:, list(levels)] = np.tile(some[:, list(levels)], (2, 1))
    answers, spreads = run_with_spread(session, far)
    wrong = np.isfinite(answers) & ~((spreads > 0) & np.isfinite(spreads))
    if wrong.any():
        raise SpreadError(f"the spread of a row far out of range is {spreads[wrong][0]}, and must be above 0")
