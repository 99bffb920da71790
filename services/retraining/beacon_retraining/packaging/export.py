"""Export: a fitted model as ONNX, compared with scikit-learn on every row.

Input `features` float32 (rows, features), complete: imputation stays outside, in the manifest. Output `prediction`
float32 (rows, 1). Between the two all is double, as it is in scikit-learn: in float32 a value on a tree's threshold
may take the other branch, and the sum of some hundred leaves is off by more than `TOLERANCE`.

Why not skl2onnx: it writes trees in float32 alone and no kernel ridge, and with converters of ours for these, one row
took 7 to 21 % longer (docs/decisions/0012-the-onnx-exporter-stays.md).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession, SessionOptions
from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingRegressor, VotingRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline

from beacon_retraining.data.dataset import Matrix
from beacon_retraining.errors import RetrainError
from beacon_retraining.training.model_specs import LogTarget

INPUT = "features"
OUTPUT = "prediction"
TOLERANCE = 1e-4
TREES = "ai.onnx.ml"
OPSETS = {"": 18, TREES: 3}
IR_VERSION = 8


class ParityError(RetrainError):
    """ONNX Runtime and scikit-learn differ by more than `TOLERANCE`; the message says by how much and where."""


class Graph:
    """An ONNX graph under construction: `node` and `constant` return the names of what they add."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, values: NDArray[Any]) -> str:
        """A tensor of the model's own."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """One operator; the name of its output."""
        output = output or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], f"{kind}_{len(self.nodes)}", **attributes))
        return output

    def double(self, name: str) -> str:
        """The tensor in double."""
        return self.node("Cast", name, to=TensorProto.DOUBLE)

    def float(self, name: str, output: str = "") -> str:
        """The tensor in float32."""
        return self.node("Cast", name, output=output, to=TensorProto.FLOAT)


def to_onnx(model: Any, width: int) -> bytes:
    """The model as serialized ONNX; the same model gives the same bytes. TypeError: no model spec is of this kind."""
    graph = Graph()
    if isinstance(model, LogTarget):
        graph.node("Exp", _logarithm(graph, model), output=OUTPUT)
    else:
        _linear(graph, model)
    exported = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "beacon",
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [None, width])],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [None, 1])],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in OPSETS.items()],
        ir_version=IR_VERSION,
        producer_name="beacon",
    )
    onnx.checker.check_model(exported)
    return bytes(exported.SerializeToString(deterministic=True))


def open_session(content: bytes) -> InferenceSession:
    """The model in ONNX Runtime, on one thread, as serving opens it."""
    options = SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run(session: InferenceSession, features: Matrix) -> NDArray[np.float32]:
    """Predictions, shape (rows,)."""
    predictions: NDArray[np.float32] = session.run([OUTPUT], {INPUT: features.astype(np.float32)})[0]
    return predictions[:, 0]


def check_parity(content: bytes, model: Any, features: Matrix) -> float:
    """The largest difference between ONNX Runtime and scikit-learn over all rows; raises `ParityError`."""
    difference = np.abs(run(open_session(content), features) - model.predict(features))
    worst = int(difference.argmax())
    if not difference[worst] <= TOLERANCE:
        raise ParityError(f"row {worst + 1}: ONNX differs from scikit-learn by {difference[worst]:.2g}")
    return float(difference[worst])


def _linear(graph: Graph, model: Any) -> None:
    """A ridge regression of scaled features, as one matrix product of the features as they are."""
    scaler, ridge = _steps(model, Ridge)
    weights = ridge.coef_ / scaler.scale_
    offset = ridge.intercept_ - weights @ scaler.mean_
    product = graph.node(
        "Gemm", graph.double(INPUT), graph.constant(weights[:, None]), graph.constant(np.array([offset]))
    )
    graph.float(product, OUTPUT)


def _logarithm(graph: Graph, model: LogTarget) -> str:
    """The predicted logarithm: all trees of a blend are one node, whose sum begins at what is constant."""
    members = list(_members(model.regressor_))
    trees = [member for member in members if not isinstance(member[0], Pipeline)]
    kernels = [member for member in members if isinstance(member[0], Pipeline)]
    parts = [_kernel(graph, member, weight, 0.0 if trees else model.mean_) for member, weight in kernels]
    parts += [_trees(graph, trees, model.mean_)] if trees else []
    return parts[0] if len(parts) == 1 else graph.node("Sum", *parts)


def _members(model: Any, weight: float = 1.0) -> Iterator[tuple[Any, float]]:
    """The models whose weighted sum the model is."""
    if not isinstance(model, VotingRegressor):
        yield model, weight
        return
    weights = np.asarray(model.weights, np.float64)
    for member, share in zip(model.estimators_, weights / weights.sum(), strict=True):
        yield from _members(member, weight * float(share))


def _kernel(graph: Graph, model: Any, weight: float, offset: float) -> str:
    """Offset + sum over the training rows z of c(z) exp(-gamma |x - z|^2); its large terms cancel.

    |x - z|^2 is taken apart, so that one matrix product serves all rows: exp(2 gamma xz - gamma |z|^2 - gamma |x|^2).
    """
    _, scaler, ridge = _steps(model, KernelRidge)
    root = np.sqrt(float(ridge.gamma))
    points = root * np.asarray(ridge.X_fit_, np.float64)
    scale = root / scaler.scale_
    # ONNX Runtime has asinh in float32 only.
    transformed = graph.double(graph.node("Asinh", INPUT))
    scaled = graph.node("Gemm", transformed, graph.constant(np.diag(scale)), graph.constant(-scale * scaler.mean_))
    nearness = graph.node("Gemm", scaled, graph.constant(2 * points.T), graph.constant(-np.sum(points**2, axis=1)))
    norm = graph.node("ReduceSumSquare", scaled, graph.constant(np.array([1])), keepdims=1)
    kernel = graph.node("Exp", graph.node("Sub", nearness, norm))
    dual = graph.constant(weight * ridge.dual_coef_.reshape(-1, 1))
    return graph.float(graph.node("Gemm", kernel, dual, graph.constant(np.array([offset]))))


def _trees(graph: Graph, members: list[tuple[Any, float]], offset: float) -> str:
    """Offset + the weighted trees of all members."""
    trees = []
    for model, weight in members:
        if isinstance(model, GradientBoostingRegressor):
            offset += weight * float(model.init_.constant_.item())
            trees += [(tree.tree_, weight * model.learning_rate) for tree in model.estimators_[:, 0]]
        elif isinstance(model, ExtraTreesRegressor):
            trees += [(tree.tree_, weight / len(model.estimators_)) for tree in model.estimators_]
        else:
            raise TypeError(f"{type(model).__name__} has no trees that can be exported")
    sizes = [tree.node_count for tree, _ in trees]
    leaf = np.concatenate([tree.children_left for tree, _ in trees]) < 0

    def of_nodes(name: str) -> NDArray[Any]:
        return np.where(leaf, 0, np.concatenate([getattr(tree, name) for tree, _ in trees]))

    tree_id = np.repeat(np.arange(len(trees)), sizes)
    node_id = np.concatenate([np.arange(size) for size in sizes])
    values = np.concatenate([weight * tree.value[:, 0, 0] for tree, weight in trees])
    return graph.node(
        "TreeEnsembleRegressor",
        graph.double(INPUT),
        domain=TREES,
        n_targets=1,
        aggregate_function="SUM",
        base_values_as_tensor=numpy_helper.from_array(np.array([offset])),
        nodes_treeids=tree_id,
        nodes_nodeids=node_id,
        nodes_featureids=of_nodes("feature"),
        nodes_modes=np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        nodes_values_as_tensor=numpy_helper.from_array(of_nodes("threshold")),
        nodes_truenodeids=of_nodes("children_left"),
        nodes_falsenodeids=of_nodes("children_right"),
        target_treeids=tree_id[leaf],
        target_nodeids=node_id[leaf],
        target_ids=np.zeros(leaf.sum(), np.int64),
        target_weights_as_tensor=numpy_helper.from_array(values[leaf]),
    )


def _steps(model: Any, last: type) -> list[Any]:
    """The steps of a pipeline that ends with a `last`."""
    if not isinstance(model, Pipeline) or not isinstance(model[-1], last):
        raise TypeError(f"{model!r} is not a pipeline that ends with {last.__name__}")
    return [step for _, step in model.steps]
