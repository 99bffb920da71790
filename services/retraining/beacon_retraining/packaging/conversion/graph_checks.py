"""The rules of a foreign ONNX graph, checked on its protobuf alone: nothing of it runs here.

Operators are ONNX's own (the domains `ai.onnx` and `ai.onnx.ml`) in a version that ONNX Runtime knows: a custom one
would need code in inference. Weights are in the file: a package is one file, and a path in a graph may name any file.
"""

from collections.abc import Iterable, Iterator

import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto
from onnx.defs import SchemaError, get_schema, onnx_ml_opset_version, onnx_opset_version

from beacon_retraining.errors import ForeignModelError
from beacon_retraining.packaging.export import MOST_BYTES

DOMAINS = {"": "ai.onnx", "ai.onnx": "ai.onnx", "ai.onnx.ml": "ai.onnx.ml"}
LEAST_OPSET = 7
"""Older operators broadcast by other rules, and converters have not written them for years."""
CHANCE = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
INLINE = "onnx.save(onnx.load(FILE), NEW_FILE) writes the weights into it"


def check_size(size: int) -> None:
    """Raise `ForeignModelError` for a file of `size` bytes that inference has no room for."""
    if size > MOST_BYTES:
        raise ForeignModelError(
            f"has {size / 1e6:,.0f} MB, at most {MOST_BYTES / 1e6:.0f} MB may be: inference holds it in memory; "
            "use fewer or smaller trees, or quantize it"
        )


def read_graph(content: bytes) -> ModelProto:
    """The model of a file's bytes, checked; raises `ForeignModelError`."""
    check_size(len(content))
    try:
        model = onnx.load_model_from_string(content)
    except (DecodeError, ValueError, RuntimeError) as error:
        raise ForeignModelError("is no ONNX model, or is cut off: its protobuf cannot be read") from error
    if not model.graph.node or not model.opset_import:
        raise ForeignModelError("is no ONNX model: it has no graph")
    check_graph(model)
    return model


def check_graph(model: ModelProto) -> None:
    """Raise `ForeignModelError` for a graph that inference must not or cannot run."""
    if model.ir_version > onnx.IR_VERSION:
        raise ForeignModelError(
            f"has IR version {model.ir_version}, at most {onnx.IR_VERSION} is known: export with an older onnx"
        )
    opsets = _opsets(model)
    own = {(function.domain, function.name) for function in model.functions}
    for graph in _graphs(model):
        _check_weights(graph.initializer)
        _check_weights(sparse.values for sparse in graph.sparse_initializer)
    for node in _nodes(model):
        _check_weights(_tensors(node))
        if (node.domain, node.op_type) not in own:
            _check_operator(node, opsets)
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, SchemaError) as error:
        raise ForeignModelError(f"breaks a rule of ONNX: {_first_line(error)}") from error


def _opsets(model: ModelProto) -> dict[str, int]:
    """The operator sets that the model imports, by domain: those of ONNX in a version that is known."""
    newest = {"ai.onnx": onnx_opset_version(), "ai.onnx.ml": onnx_ml_opset_version()}
    opsets = {DOMAINS.get(entry.domain, entry.domain): entry.version for entry in model.opset_import}
    for domain, most in newest.items():
        if opsets.get(domain, 1) > most:
            raise ForeignModelError(
                f"needs opset {opsets[domain]} of {domain}, at most {most} is known: export with target_opset={most}"
            )
    if opsets.get("ai.onnx", LEAST_OPSET) < LEAST_OPSET:
        raise ForeignModelError(
            f"has opset {opsets['ai.onnx']} of ai.onnx, at least {LEAST_OPSET} is needed: "
            "onnx.version_converter.convert_version raises it"
        )
    return opsets


def _check_operator(node: NodeProto, opsets: dict[str, int]) -> None:
    domain = DOMAINS.get(node.domain)
    if domain is None:
        raise ForeignModelError(
            f"operator {node.op_type} of domain {node.domain} is a custom one (node {node.name!r}): inference "
            "has ai.onnx and ai.onnx.ml alone; export without custom operators and without ONNX Runtime's optimizations"
        )
    version = opsets.get(domain)
    if version is None:
        raise ForeignModelError(f"operator {node.op_type} of domain {domain}: the model imports no opset of it")
    try:
        known = not get_schema(node.op_type, version, "" if domain == "ai.onnx" else domain).deprecated
    except SchemaError:
        known = False
    if not known:
        raise ForeignModelError(
            f"operator {node.op_type} is unknown in opset {version} of domain {domain} (node {node.name!r}): "
            "export with another target_opset"
        )
    if node.op_type in CHANCE:
        raise ForeignModelError(f"operator {node.op_type} gives other answers each time: a model must repeat")


def _check_weights(tensors: Iterable[TensorProto]) -> None:
    for tensor in tensors:
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            place = next((entry.value for entry in tensor.external_data if entry.key == "location"), "?")
            raise ForeignModelError(
                f"tensor {tensor.name!r} lies in another file ({place!r}), and a package has no other: {INLINE}"
            )


def _graphs(model: ModelProto) -> Iterator[GraphProto]:
    """The graph and those inside its nodes, and inside the nodes of its functions."""
    waiting = [model.graph]
    waiting += [graph for function in model.functions for node in function.node for graph in _inner(node)]
    while waiting:
        graph = waiting.pop()
        yield graph
        waiting += [inner for node in graph.node for inner in _inner(node)]


def _nodes(model: ModelProto) -> Iterator[NodeProto]:
    for function in model.functions:
        yield from function.node
    for graph in _graphs(model):
        yield from graph.node


def _inner(node: NodeProto) -> list[GraphProto]:
    found = [attribute.g for attribute in node.attribute if attribute.type == AttributeProto.GRAPH]
    return found + [graph for attribute in node.attribute for graph in attribute.graphs]


def _tensors(node: NodeProto) -> Iterator[TensorProto]:
    for attribute in node.attribute:
        if attribute.type == AttributeProto.TENSOR:
            yield attribute.t
        elif attribute.type == AttributeProto.SPARSE_TENSOR:
            yield attribute.sparse_tensor.values
        yield from attribute.tensors
        yield from (sparse.values for sparse in attribute.sparse_tensors)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
