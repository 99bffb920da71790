"""The terms of a model's graph: what is added up to the prediction, or to its logarithm.

The graph is followed from its output back through sums and constant factors, to ensembles of trees, linear models and
Gaussian kernels. Everything before these computes their coordinates, and may be of any kind. So this reads Beacon's own
exports, and those of onnxmltools and skl2onnx.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from beacon_core.model_package.batch_model import FEATURES, PREDICTION
from beacon_retraining.errors import RetrainError
from beacon_retraining.packaging.export import TREE_OPERATOR
from beacon_retraining.packaging.tree_node import attributes_of

PASSED = frozenset({"Identity", "Cast"})
"""Operators that do not change a number, but for its precision."""


class NoTermsError(RetrainError):
    """The graph is no sum of known terms; the message names the operator."""


class TreesTerm(NamedTuple):
    """An ensemble of trees that takes `tensor`, times `factor`."""

    tensor: str
    node: onnx.NodeProto
    factor: float


class LinearTerm(NamedTuple):
    """tensor (rows, columns) @ weights (columns,)."""

    tensor: str
    weights: NDArray[np.float64]


class KernelTerm(NamedTuple):
    """exp(-|tensor - point|^2) @ weights, over the points (points, columns)."""

    tensor: str
    points: NDArray[np.float64]
    weights: NDArray[np.float64]


Term = TreesTerm | LinearTerm | KernelTerm


class GraphTerms(NamedTuple):
    """The answer is the sum of the terms and of `constant`, or its Exp where `is_log`."""

    is_log: bool
    constant: float
    terms: list[Term]


class GraphReader:
    """Reads a model's graph."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self._made_by = {name: node for node in model.graph.node for name in node.output}
        self._constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self._constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        outputs = [output.name for output in model.graph.output]
        self.output = PREDICTION if PREDICTION in outputs else outputs[0]
        self.input: str = model.graph.input[0].name

    def top(self) -> tuple[str, bool]:
        """The tensor whose terms add up, and whether the answer is its Exp."""
        name = self._passed(self.output)
        node = self._made_by.get(name)
        return (node.input[0], True) if node is not None and node.op_type == "Exp" else (name, False)

    def terms(self) -> GraphTerms:
        """The terms of the answer; raises `NoTermsError`."""
        name, is_log = self.top()
        constant, terms = 0.0, []
        for found in self._terms(name, 1.0):
            if isinstance(found, float):
                constant += found
            else:
                terms.append(found)
        return GraphTerms(is_log, constant, terms)

    def is_features(self, name: str) -> bool:
        """Whether a tensor is the model's columns themselves."""
        return bool(self._passed(name) == self.input)

    def graph_of(self, tensors: list[str]) -> tuple[bytes, tuple[str, ...]]:
        """A model that computes these tensors, in double, and the names of its outputs."""
        needed: set[str] = set()
        waiting = list(tensors)
        while waiting:
            name = waiting.pop()
            if name not in needed:
                needed.add(name)
                waiting += self._made_by[name].input if name in self._made_by else []
        graph = self._model.graph
        nodes = [node for node in graph.node if needed.intersection(node.output)]
        outputs = tuple(f"coordinates_{at}" for at in range(len(tensors)))
        casts = [
            helper.make_node("Cast", [name], [output], to=TensorProto.DOUBLE)
            for name, output in zip(tensors, outputs, strict=True)
        ]
        (given,) = [value for value in graph.input if value.name == self.input]
        made = helper.make_graph(
            [*nodes, *casts],
            "coordinates",
            [
                helper.make_tensor_value_info(
                    FEATURES, TensorProto.FLOAT, [None, given.type.tensor_type.shape.dim[1].dim_value]
                )
            ],
            [helper.make_tensor_value_info(output, TensorProto.DOUBLE, [None, None]) for output in outputs],
            [tensor for tensor in graph.initializer if tensor.name in needed],
        )
        if self.input != FEATURES:
            for node in made.node:
                node.input[:] = [FEATURES if name == self.input else name for name in node.input]
        model = helper.make_model(made, opset_imports=self._model.opset_import, ir_version=self._model.ir_version)
        return bytes(model.SerializeToString(deterministic=True)), outputs

    def _passed(self, name: str) -> str:
        node = self._made_by.get(name)
        return self._passed(node.input[0]) if node is not None and node.op_type in PASSED else name

    def _terms(self, name: str, factor: float) -> Iterator[float | Term]:
        if name in self._constants:
            yield factor * self._number(name)
            return
        node = self._made_by.get(name)
        if node is None:
            raise NoTermsError(f"the model adds {name} itself")
        if node.op_type == TREE_OPERATOR:
            yield TreesTerm(node.input[0], node, factor)
        elif node.op_type in {"Gemm", "MatMul", "LinearRegressor"}:
            yield from self._product(node, factor)
        else:
            for each, share in self._addends(node):
                yield from self._terms(each, factor * share)

    def _addends(self, node: onnx.NodeProto) -> list[tuple[str, float]]:
        """The tensors that a node adds up, each with its factor."""
        kind, inputs = node.op_type, list(node.input)
        if kind in PASSED:
            return [(inputs[0], 1.0)]
        if kind in {"Add", "Sum"}:
            return [(each, 1.0) for each in inputs]
        if kind == "Sub":
            return [(inputs[0], 1.0), (inputs[1], -1.0)]
        if kind == "Mul" and not set(inputs).isdisjoint(self._constants):
            fixed, other = inputs if inputs[0] in self._constants else inputs[::-1]
            return [(other, self._number(fixed))]
        if kind == "Div" and inputs[1] in self._constants:
            return [(inputs[0], 1 / self._number(inputs[1]))]
        raise NoTermsError(f"the model adds the result of {kind}")

    def _product(self, node: onnx.NodeProto, factor: float) -> Iterator[float | Term]:
        """A matrix product with one column of weights: of a kernel, or of columns."""
        attributes = attributes_of(node)
        if node.op_type == "LinearRegressor":
            if attributes.get("targets", 1) != 1 or attributes.get("post_transform", b"NONE") != b"NONE":
                raise NoTermsError("LinearRegressor has several targets or a transform")
            yield factor * float(sum(attributes.get("intercepts", ())))
            yield LinearTerm(node.input[0], factor * np.array(attributes["coefficients"], np.float64))
            return
        weights = self._constants.get(node.input[1])
        if weights is None or weights.ndim != 2 or weights.shape[1] != 1 or attributes:
            raise NoTermsError(f"{node.op_type} has more than one column, or attributes")
        if len(node.input) > 2:
            yield from self._terms(node.input[2], factor)
        scaled = factor * weights[:, 0].astype(np.float64)
        source = self._made_by.get(node.input[0])
        if source is not None and source.op_type == "Exp":
            yield self._kernel(source, scaled)
        else:
            yield LinearTerm(node.input[0], scaled)

    def _kernel(self, exp: onnx.NodeProto, weights: NDArray[np.float64]) -> KernelTerm:
        """Exp(Gemm(tensor, 2 points^T, -|point|^2) - ReduceSumSquare(tensor)), as `export` writes it."""
        difference = self._made_by.get(exp.input[0])
        nearness, norm = (
            (self._made_by.get(name) for name in difference.input)
            if difference is not None and difference.op_type == "Sub"
            else (None, None)
        )
        if (
            nearness is None
            or norm is None
            or (nearness.op_type, norm.op_type) != ("Gemm", "ReduceSumSquare")
            or nearness.input[0] != norm.input[0]
            or len(nearness.input) != 3
            or not set(nearness.input[1:]) <= set(self._constants)
        ):
            raise NoTermsError("Exp is not of a Gaussian kernel")
        points = self._constants[nearness.input[1]].T.astype(np.float64) / 2
        offset = self._constants[nearness.input[2]]
        if not np.allclose(offset, -np.sum(points**2, axis=1), rtol=1e-9):
            raise NoTermsError("Exp is not of a Gaussian kernel")
        return KernelTerm(nearness.input[0], points, weights)

    def _number(self, name: str) -> float:
        values = self._constants.get(name)
        if values is None or values.size != 1:
            raise NoTermsError(f"{name} is not one constant number")
        return float(values.reshape(()))
