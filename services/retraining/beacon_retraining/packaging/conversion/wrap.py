"""Wrap: a foreign graph between the input and the output that every package has.

Input `features` float32 (rows, columns), output `prediction` double (rows, 1), as of `packaging/export.py`. In between
the columns are picked, level numbers become the model's own numbers or its text, and each is cast to what the model's
input takes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from beacon_core.model_package.batch_model import FEATURES, PREDICTION
from beacon_retraining.data.dataset import Matrix
from beacon_retraining.packaging.conversion.binding import TEXT, Binding, BoundInput
from beacon_retraining.packaging.export import IR_VERSION, OPSETS, Graph
from beacon_retraining.training.columns import ModelColumn, notebook_values

PREFIX = "model."
UNKNOWN_LEVEL = -1.0


def wrap(model: ModelProto, binding: Binding, columns: Sequence[ModelColumn]) -> bytes:
    """The serialized graph of a package; equal models give equal bytes."""
    inner = onnx.compose.add_prefix(model, PREFIX)
    graph = Graph()
    given = {PREFIX + entry.name: _fed(graph, entry, binding, columns) for entry in binding.inputs}
    first = len(graph.nodes)
    answers = graph.node("Reshape", PREFIX + binding.output, graph.constant(np.array([-1, 1])), output="beacon_answers")
    graph.node("Cast", answers, output=PREDICTION, to=TensorProto.DOUBLE)
    before = graph.nodes[:first] + [helper.make_node("Identity", [fed], [name]) for name, fed in given.items()]
    opsets = {entry.domain: entry.version for entry in inner.opset_import}
    if not opsets.keys() & {"", "ai.onnx"}:
        inner.opset_import.append(helper.make_opsetid("", OPSETS[""]))
    own = inner.graph
    nodes = [*before, *own.node, *graph.nodes[first:]]
    del own.node[:], own.input[:], own.output[:], own.value_info[:]
    own.node.extend(nodes)
    own.initializer.extend(graph.constants)
    own.input.append(helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, [None, len(columns)]))
    own.output.append(helper.make_tensor_value_info(PREDICTION, TensorProto.DOUBLE, [None, 1]))
    inner.ir_version = max(inner.ir_version, IR_VERSION)
    onnx.checker.check_model(inner)
    return bytes(inner.SerializeToString(deterministic=True))


def feeds(binding: Binding, columns: Sequence[ModelColumn], numbers: Matrix) -> dict[str, NDArray[Any]]:
    """What the foreign graph itself takes for the rows (rows, columns): the same by numpy, to compare with."""
    found = {}
    for entry in binding.inputs:
        if entry.element_type == TEXT:
            values = notebook_values(columns[entry.places[0]], numbers[:, entry.places[0]])[:, None]
        else:
            values = recoded(numbers, entry.places, binding.recodings).astype(
                helper.tensor_dtype_to_np_dtype(entry.element_type)
            )
        found[entry.name] = values.ravel() if entry.rank == 1 else values
    return found


def recoded(numbers: Matrix, places: Sequence[int], recodings: Mapping[int, dict[float, float]]) -> Matrix:
    """The columns at `places`, with a model's own numbers of levels."""
    picked = numbers[:, list(places)].copy()
    for at, place in enumerate(places):
        if place in recodings:
            codes = recodings[place]
            picked[:, at] = [codes.get(number, UNKNOWN_LEVEL) for number in picked[:, at].tolist()]
    return picked


def _fed(graph: Graph, entry: BoundInput, binding: Binding, columns: Sequence[ModelColumn]) -> str:
    """The name of the tensor that an input takes."""
    if entry.element_type == TEXT:
        (place,) = entry.places
        picked = _texts(graph, place, columns[place])
    else:
        picked = _numbers(graph, entry.places, binding.recodings, len(columns))
        if entry.element_type != TensorProto.FLOAT:
            picked = graph.node("Cast", picked, output=_name(graph), to=entry.element_type)
    return (
        graph.node("Reshape", picked, graph.constant(np.array([-1])), output=_name(graph))
        if entry.rank == 1
        else picked
    )


def _numbers(graph: Graph, places: tuple[int, ...], recodings: Mapping[int, dict[float, float]], width: int) -> str:
    """The columns at some places, float32 (rows, places)."""
    if not any(place in recodings for place in places):
        return FEATURES if places == tuple(range(width)) else _gather(graph, places)
    parts = [
        _levels(graph, place, recodings[place]) if place in recodings else _gather(graph, (place,)) for place in places
    ]
    return parts[0] if len(parts) == 1 else graph.node("Concat", *parts, output=_name(graph), axis=1)


def _gather(graph: Graph, places: Sequence[int]) -> str:
    return graph.node("Gather", FEATURES, graph.constant(np.array(places, np.int64)), output=_name(graph), axis=1)


def _levels(graph: Graph, place: int, codes: dict[float, float]) -> str:
    """The model's numbers of a category's levels: each level is compared with the column, as `export` does."""
    levels, numbers = np.array([*codes], np.float32), np.array([*codes.values()], np.float32)
    equal = graph.node("Equal", _gather(graph, (place,)), graph.constant(levels[None]), output=_name(graph))
    flags = graph.float(equal, output=_name(graph))
    summed = graph.node("MatMul", flags, graph.constant(numbers[:, None] - UNKNOWN_LEVEL), output=_name(graph))
    return graph.node("Add", summed, graph.constant(np.array([UNKNOWN_LEVEL], np.float32)), output=_name(graph))


def _texts(graph: Graph, place: int, column: ModelColumn) -> str:
    """The texts of a category's levels, looked up by their numbers."""
    texts = graph.constant(np.array(column.texts, dtype=object))
    number = graph.node("Cast", _gather(graph, (place,)), output=_name(graph), to=TensorProto.INT64)
    return graph.node("Gather", texts, number, output=_name(graph), axis=0)


def _name(graph: Graph) -> str:
    return f"beacon_{len(graph.nodes)}"
