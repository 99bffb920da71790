"""Export: a fitted regressor as ONNX, held to scikit-learn's answers on every row.

Input `features` float32 (rows, features), complete: imputation stays outside, in the manifest. Output `prediction`
float32 (rows, 1).
"""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime import InferenceSession, SessionOptions
from skl2onnx import convert_sklearn, update_registered_converter
from skl2onnx.common.data_types import FloatTensorType
from sklearn.kernel_ridge import KernelRidge

from beacon_retrain.candidates import Asinh, LogTarget
from beacon_retrain.dataset import Matrix
from beacon_retrain.errors import RetrainError

INPUT = "features"
OUTPUT = "prediction"
TOLERANCE = 1e-4
OPSETS = {"": 18, "ai.onnx.ml": 3}


class ParityError(RetrainError):
    """ONNX Runtime and scikit-learn differ by more than `TOLERANCE`; the message says by how much and where."""


def to_onnx(model: Any, width: int) -> bytes:
    """The model as serialized ONNX; the same model gives the same bytes."""
    converted = convert_sklearn(
        model,
        name="beacon",
        initial_types=[(INPUT, FloatTensorType([None, width]))],
        target_opset=OPSETS,
    )
    _name_output(converted.graph)
    onnx.checker.check_model(converted)
    return bytes(converted.SerializeToString(deterministic=True))


def _name_output(graph: onnx.GraphProto) -> None:
    """Call the one output `OUTPUT`; skl2onnx's own way of naming it costs serving one more operator."""
    (output,) = graph.output
    for node in graph.node:
        node.output[:] = [OUTPUT if name == output.name else name for name in node.output]
    output.name = OUTPUT


def open_session(content: bytes) -> InferenceSession:
    """The model in ONNX Runtime, on one thread, as serving opens it."""
    options = SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run(session: InferenceSession, features: Matrix) -> NDArray[np.float32]:
    """Predictions, shape (rows,)."""
    answer: NDArray[np.float32] = session.run([OUTPUT], {INPUT: features.astype(np.float32)})[0]
    return answer[:, 0]


def check_parity(content: bytes, model: Any, features: Matrix) -> float:
    """The largest difference between ONNX Runtime and scikit-learn over all rows; raises `ParityError`."""
    difference = np.abs(run(open_session(content), features) - model.predict(features))
    worst = int(difference.argmax())
    if not difference[worst] <= TOLERANCE:
        raise ParityError(f"row {worst + 1}: ONNX differs from scikit-learn by {difference[worst]:.2g}")
    return float(difference[worst])


def _same_shape(operator: Any) -> None:
    operator.outputs[0].type = FloatTensorType([operator.inputs[0].get_first_dimension(), 1])


def _as_wide(operator: Any) -> None:
    operator.outputs[0].type = FloatTensorType([None, operator.raw_operator.n_features_in_])


def _convert_asinh(scope: Any, operator: Any, container: Any) -> None:
    name = scope.get_unique_operator_name("Asinh")
    container.add_node("Asinh", operator.inputs[0].full_name, operator.outputs[0].full_name, name=name)


def _convert_log_target(scope: Any, operator: Any, container: Any) -> None:
    model = operator.raw_operator
    inner = scope.declare_local_operator(_alias(model.regressor_), model.regressor_)
    inner.inputs.append(operator.inputs[0])
    logarithm = scope.declare_local_variable("logarithm", FloatTensorType([None, 1]))
    inner.outputs.append(logarithm)
    mean = scope.get_unique_variable_name("mean")
    container.add_initializer(mean, onnx.TensorProto.FLOAT, [1], [model.mean_])
    shifted = scope.get_unique_variable_name("shifted")
    container.add_node("Add", [logarithm.full_name, mean], shifted, name=scope.get_unique_operator_name("Add"))
    container.add_node("Exp", shifted, operator.outputs[0].full_name, name=scope.get_unique_operator_name("Exp"))


def _convert_kernel_ridge(scope: Any, operator: Any, container: Any) -> None:
    """Sum over the training rows z of c(z) exp(-gamma |x - z|^2), in double: its large terms cancel.

    |x - z|^2 is taken apart, so that one matrix product serves all rows: exp(2 gamma xz - gamma |z|^2 - gamma |x|^2).
    """
    model = operator.raw_operator
    gamma = float(model.gamma)
    points = np.asarray(model.X_fit_, np.float64)

    def constant(name: str, values: Matrix) -> str:
        unique: str = scope.get_unique_variable_name(name)
        container.add_initializer(unique, onnx.TensorProto.DOUBLE, list(values.shape), values.ravel().tolist())
        return unique

    def node(kind: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        result: str = output or scope.get_unique_variable_name(kind.lower())
        container.add_node(kind, inputs, result, name=scope.get_unique_operator_name(kind), **attributes)
        return result

    exact = node("Cast", [operator.inputs[0].full_name], to=onnx.TensorProto.DOUBLE)
    nearness = node(
        "Gemm",
        [
            exact,
            constant("points", 2 * gamma * points.T),
            constant("norms", -gamma * (points**2).sum(axis=1)),
        ],
    )
    scaled = node("Mul", [exact, constant("root", np.array([gamma**0.5]))])
    axes = scope.get_unique_variable_name("axes")
    container.add_initializer(axes, onnx.TensorProto.INT64, [1], [1])
    norm = node("ReduceSumSquare", [scaled, axes], keepdims=1)
    kernel = node("Exp", [node("Sub", [nearness, norm])])
    total = node("MatMul", [kernel, constant("dual", model.dual_coef_.reshape(-1, 1))])
    node("Cast", [total], operator.outputs[0].full_name, to=onnx.TensorProto.FLOAT)


def _alias(model: Any) -> str:
    from skl2onnx._supported_operators import sklearn_operator_name_map  # noqa: PLC0415

    return str(sklearn_operator_name_map[type(model)])


update_registered_converter(Asinh, "BeaconAsinh", _as_wide, _convert_asinh)
update_registered_converter(LogTarget, "BeaconLogTarget", _same_shape, _convert_log_target)
update_registered_converter(KernelRidge, "BeaconKernelRidge", _same_shape, _convert_kernel_ridge)
