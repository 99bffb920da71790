"""Export: a fitted model as ONNX, compared with scikit-learn on every row.

Input `features` float32 (rows, columns of `column_names`), complete: imputation and derived columns stay outside.
Output `prediction` double (rows, 1). Categories are encoded inside. All else is double, as it is in scikit-learn: in
float32 a value on a tree's threshold may take the other branch, and a target far from zero loses its digits. Trees
answer in float32: the target is standardized inside the model, so that this is exact enough for every unit.

Why not skl2onnx: it writes trees in float32 alone and no kernel ridge, and with converters of ours for these, one row
took 7 to 21 % longer (docs/decisions/0012-the-onnx-exporter-stays.md).
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession
from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingRegressor, HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import Pipeline

from beacon_core.model_package.batch_model import FEATURES, PREDICTION, ROWS_PER_RUN
from beacon_core.model_package.session import open_session
from beacon_retraining.data.dataset import Matrix
from beacon_retraining.errors import RetrainError
from beacon_retraining.training.batches import over_batches
from beacon_retraining.training.encoder import ColumnEncoder, onehot_columns, target_columns
from beacon_retraining.training.estimators import Blend, LogMean, MedianKernelRidge, TableModel
from beacon_retraining.training.xgboost_trees import XGBoostTrees

RELATIVE_TOLERANCE = 1e-5
"""How far ONNX may be from scikit-learn, in standard deviations of the training target."""
MOST_BYTES = 100_000_000
"""The largest model: inference has it in memory, once per worker."""
TREES = "ai.onnx.ml"
TREE_OPERATOR = "TreeEnsembleRegressor"
OPSETS = {"": 18, TREES: 3}
IR_VERSION = 8


class ParityError(RetrainError):
    """ONNX Runtime and scikit-learn differ by too much; the message says by how much, where, and the limit."""


class ModelSizeError(RetrainError):
    """The model is larger than `MOST_BYTES`."""


class Tree(NamedTuple):
    """One tree's nodes (arrays of equal length), by their numbers; `weight` multiplies its leaves' values."""

    feature: NDArray[Any]
    threshold: Matrix
    left: NDArray[Any]
    right: NDArray[Any]
    is_leaf: NDArray[np.bool_]
    value: Matrix
    weight: float


class Graph:
    """An ONNX graph under construction: `node` and `constant` return the names of what they add, with the prefix."""

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, values: NDArray[Any]) -> str:
        """A tensor of the model's own."""
        name = f"{self.prefix}constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """One operator; the name of its output."""
        name = f"{self.prefix}{kind}_{len(self.nodes)}"
        output = output or name.lower()
        self.nodes.append(helper.make_node(kind, inputs, [output], name, **attributes))
        return output

    def double(self, name: str) -> str:
        """The tensor in double."""
        return self.node("Cast", name, to=TensorProto.DOUBLE)

    def float(self, name: str, output: str = "") -> str:
        """The tensor in float32."""
        return self.node("Cast", name, output=output, to=TensorProto.FLOAT)


def to_onnx(model: TableModel, width: int) -> bytes:
    """The model as serialized ONNX; the same model gives the same bytes. TypeError: no family is of this kind."""
    graph = Graph()
    columns = graph.double(FEATURES if model.encoder_ is None else _encoded(graph, model.encoder_))
    scaled = _regressor(graph, model.regressor_, columns)
    values = graph.node("Mul", scaled, graph.constant(np.array([model.scale_])))
    mean = graph.constant(np.array([model.mean_]))
    if model.scale == "none":
        graph.node("Add", values, mean, output=PREDICTION)
    else:
        graph.node("Exp", graph.node("Add", values, mean), output=PREDICTION)
    exported = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "beacon",
            [helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, [None, width])],
            [helper.make_tensor_value_info(PREDICTION, TensorProto.DOUBLE, [None, 1])],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in OPSETS.items()],
        ir_version=IR_VERSION,
        producer_name="beacon",
    )
    onnx.checker.check_model(exported)
    return bytes(exported.SerializeToString(deterministic=True))


def run(session: InferenceSession, columns: Matrix) -> Matrix:
    """Predictions of columns (rows, columns), shape (rows,)."""
    predictions: Matrix = session.run([PREDICTION], {FEATURES: columns.astype(np.float32)})[0]
    return predictions[:, 0]


def run_all(session: InferenceSession, columns: Matrix) -> Matrix:
    """Predictions of any number of rows, shape (rows,)."""
    return np.concatenate(over_batches(len(columns), ROWS_PER_RUN, lambda part: run(session, columns[part])))


def check_parity(content: bytes, model: TableModel, columns: Matrix, spread: float) -> float:
    """The largest difference between ONNX Runtime and scikit-learn over all rows; raises `ParityError`.

    `spread` is the standard deviation of the training target: the limit is relative to it.
    """
    session = open_session(content)

    def differences(part: slice) -> Matrix:
        found: Matrix = np.abs(run(session, columns[part]) - model.predict(columns[part]))
        return found

    difference = np.concatenate(over_batches(len(columns), ROWS_PER_RUN, differences))
    worst, limit = int(difference.argmax()), RELATIVE_TOLERANCE * spread
    if not difference[worst] <= limit:
        raise ParityError(
            f"row {worst + 1}: ONNX differs from scikit-learn by {difference[worst]:.2g}, at most {limit:.2g} may be "
            f"({RELATIVE_TOLERANCE:g} of the target's spread {spread:.3g})"
        )
    return float(difference[worst])


def check_size(content: bytes) -> None:
    """Raise `ModelSizeError` for a model that inference has no room for."""
    if len(content) > MOST_BYTES:
        raise ModelSizeError(f"the model has {len(content) / 1e6:.0f} MB, at most {MOST_BYTES / 1e6:.0f} MB may be")


def _encoded(graph: Graph, encoder: ColumnEncoder) -> str:
    """The encoded columns in float32: each level is compared with its category's column, all of them at once."""
    layout = encoder.layout
    parts = []
    if layout.as_is:
        parts.append(graph.node("Gather", FEATURES, graph.constant(np.array(layout.as_is, np.int64)), axis=1))
    if layout.onehot:
        parts.append(_flags(graph, *onehot_columns(layout)))
    if layout.target:
        means = [np.asarray(own, np.float32) for own in encoder.encoder_.encodings_]
        table = np.zeros((sum(map(len, means)), len(means)), np.float32)
        first = 0
        for at, own in enumerate(means):
            table[first : first + len(own), at] = own
            first += len(own)
        parts.append(graph.node("MatMul", _flags(graph, *target_columns(layout)), graph.constant(table)))
    return parts[0] if len(parts) == 1 else graph.node("Concat", *parts, axis=1)


def _flags(graph: Graph, places: NDArray[np.int64], values: Matrix) -> str:
    """1 where the category at a place has the value, else 0; float32 (rows, values)."""
    picked = graph.node("Gather", FEATURES, graph.constant(places), axis=1)
    return graph.float(graph.node("Equal", picked, graph.constant(values.astype(np.float32)[None])))


def _regressor(graph: Graph, regressor: Any, columns: str) -> str:
    """The standardized prediction, double (rows, 1): all trees of a blend are one node."""
    members = list(_members(regressor))
    trees = [member for member in members if not isinstance(member[0], Pipeline)]
    parts = [_pipeline(graph, member, weight, columns) for member, weight in members if isinstance(member, Pipeline)]
    parts += [add_trees(graph, trees, columns)] if trees else []
    return parts[0] if len(parts) == 1 else graph.node("Sum", *parts)


def _members(model: Any, weight: float = 1.0) -> Iterator[tuple[Any, float]]:
    """The models whose weighted sum the model is."""
    if isinstance(model, LogMean):
        yield model.model_, weight
        return
    if not isinstance(model, Blend):
        yield model, weight
        return
    for member, share in model.members_:
        yield from _members(member, weight * float(share))


def _pipeline(graph: Graph, model: Pipeline, weight: float, columns: str) -> str:
    if isinstance(model[-1], RidgeCV):
        return _linear(graph, model, weight, columns)
    if isinstance(model[-1], MedianKernelRidge):
        return _kernel(graph, model, weight, columns)
    raise TypeError(f"{type(model[-1]).__name__} cannot be exported")


def _linear(graph: Graph, model: Pipeline, weight: float, columns: str) -> str:
    """A ridge regression of scaled features, as one matrix product of the features as they are."""
    scaler, ridge = (step for _, step in model.steps)
    weights = ridge.coef_ / scaler.scale_
    offset = ridge.intercept_ - weights @ scaler.mean_
    return graph.node(
        "Gemm", columns, graph.constant(weight * weights[:, None]), graph.constant(np.array([weight * offset]))
    )


def _kernel(graph: Graph, model: Pipeline, weight: float, columns: str) -> str:
    """The sum over the training rows z of c(z) exp(-gamma |x - z|^2); its large terms cancel.

    |x - z|^2 is taken apart, so that one matrix product serves all rows: exp(2 gamma xz - gamma |z|^2 - gamma |x|^2).
    """
    asinh, scaler, kernel_ridge = (step for _, step in model.steps)
    ridge = kernel_ridge.ridge_
    root = np.sqrt(float(ridge.gamma))
    points = root * np.asarray(ridge.X_fit_, np.float64)
    scale = root / scaler.scale_
    if asinh.centre_.any():
        columns = graph.node("Sub", columns, graph.constant(asinh.centre_[None]))
    spread = graph.node("Div", columns, graph.constant(asinh.scale_[None]))
    # ONNX Runtime has asinh in float32 only.
    transformed = graph.double(graph.node("Asinh", graph.float(spread)))
    scaled = graph.node("Gemm", transformed, graph.constant(np.diag(scale)), graph.constant(-scale * scaler.mean_))
    nearness = graph.node("Gemm", scaled, graph.constant(2 * points.T), graph.constant(-np.sum(points**2, axis=1)))
    norm = graph.node("ReduceSumSquare", scaled, graph.constant(np.array([1])), keepdims=1)
    kernel = graph.node("Exp", graph.node("Sub", nearness, norm))
    return graph.node("MatMul", kernel, graph.constant(weight * ridge.dual_coef_.reshape(-1, 1)))


def add_trees(graph: Graph, members: list[tuple[Any, float]], columns: str) -> str:
    """The weighted trees of all members: the name of their sum, double (rows, 1)."""
    offset = sum(weight * _base(model) for model, weight in members)
    trees = [tree for model, weight in members for tree in _trees_of(model, weight)]
    sizes = [len(tree.feature) for tree in trees]
    leaf = np.concatenate([tree.is_leaf for tree in trees])

    def of_nodes(name: str) -> NDArray[Any]:
        return np.where(leaf, 0, np.concatenate([getattr(tree, name) for tree in trees]))

    tree_id = np.repeat(np.arange(len(trees)), sizes)
    node_id = np.concatenate([np.arange(size) for size in sizes])
    values = np.concatenate([tree.weight * tree.value for tree in trees])
    answers = graph.node(
        TREE_OPERATOR,
        columns,
        domain=TREES,
        n_targets=1,
        aggregate_function="SUM",
        base_values_as_tensor=numpy_helper.from_array(np.array([offset], np.float64)),
        nodes_treeids=tree_id,
        nodes_nodeids=node_id,
        nodes_featureids=of_nodes("feature").astype(np.int64),
        nodes_modes=np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        nodes_values_as_tensor=numpy_helper.from_array(of_nodes("threshold").astype(np.float64)),
        nodes_truenodeids=of_nodes("left").astype(np.int64),
        nodes_falsenodeids=of_nodes("right").astype(np.int64),
        target_treeids=tree_id[leaf],
        target_nodeids=node_id[leaf],
        target_ids=np.zeros(leaf.sum(), np.int64),
        target_weights_as_tensor=numpy_helper.from_array(values[leaf]),
    )
    return graph.double(answers)


def _base(model: Any) -> float:
    """The constant that boosting begins with."""
    if isinstance(model, GradientBoostingRegressor):
        return float(model.init_.constant_.item())
    return float(np.ravel(model._baseline_prediction)[0]) if isinstance(model, HistGradientBoostingRegressor) else 0.0


def _trees_of(model: Any, weight: float) -> Iterator[Tree]:
    if isinstance(model, XGBoostTrees):
        for tree in model.trees_:
            yield Tree(*tree, weight)
        return
    if isinstance(model, HistGradientBoostingRegressor):
        for (predictor,) in model._predictors:
            nodes = predictor.nodes
            yield Tree(
                nodes["feature_idx"], nodes["num_threshold"], nodes["left"], nodes["right"],
                nodes["is_leaf"].astype(bool), nodes["value"], weight,
            )  # fmt: skip
        return
    if isinstance(model, GradientBoostingRegressor):
        trees, weight = model.estimators_[:, 0], weight * model.learning_rate
    elif isinstance(model, ExtraTreesRegressor):
        trees, weight = model.estimators_, weight / len(model.estimators_)
    else:
        raise TypeError(f"{type(model).__name__} has no trees that can be exported")
    for estimator in trees:
        grown = estimator.tree_
        yield Tree(
            grown.feature, grown.threshold, grown.children_left, grown.children_right,
            grown.children_left < 0, grown.value[:, 0, 0], weight,
        )  # fmt: skip
