"""Which columns of the product each input of a foreign graph takes: by name where it has names, else in their order."""

import re
from collections.abc import Mapping, Sequence

import msgspec
from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto

from beacon_retraining.errors import ForeignModelError
from beacon_retraining.training.columns import ModelColumn

WHOLE = {TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL}
NUMBERS = WHOLE | {TensorProto.FLOAT, TensorProto.DOUBLE}
TEXT = TensorProto.STRING
LIBRARY_NAME = re.compile(r"(Column_|f|feature_?|x)?\d+")
"""What libraries call the columns of a matrix that has no names."""


class BoundInput(msgspec.Struct, frozen=True):
    """An input: its name, element type and rank, and the places of its columns among the product's."""

    name: str
    element_type: int
    rank: int
    places: tuple[int, ...]


class Binding(msgspec.Struct, frozen=True):
    """All inputs of a graph, its one output, and what the model calls levels.

    `recodings` (by place): the model's number of each level, -1 for one that it does not know. Its keys are levels.
    """

    inputs: tuple[BoundInput, ...]
    output: str
    recodings: dict[int, dict[float, float]] = {}


def bind(
    model: ModelProto,
    columns: Sequence[ModelColumn],
    names: Sequence[str] = (),
    recodings: Mapping[str, dict[float, float]] | None = None,
) -> Binding:
    """The binding of a graph to the product's columns; raises `ForeignModelError`.

    `names` are the columns of a matrix, or of the inputs in their order, where the model's library knows them.
    """
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    given = [entry for entry in graph.input if entry.name not in constants]
    if not given:
        raise ForeignModelError("its graph has no input")
    known = _known(columns)
    for entry in given:
        _check_input(entry)
    if len(names) == len(given):
        inputs: tuple[BoundInput, ...] = tuple(
            _column(entry, name, columns, known) for entry, name in zip(given, names, strict=True)
        )
    elif len(given) == 1 and given[0].name not in known:
        inputs = (_matrix(given[0], columns, names),)
    else:
        inputs = tuple(_column(entry, entry.name, columns, known) for entry in given)
    places = {known[name]: codes for name, codes in (recodings or {}).items()}
    return Binding(inputs, _output(graph), places)


def places_of(names: Sequence[str], columns: Sequence[ModelColumn]) -> tuple[int, ...]:
    """The places of a model's own column names; all columns in order where they are a library's numbers."""
    known = _known(columns)
    unknown = [name for name in names if name not in known]
    if not unknown:
        return tuple(known[name] for name in names)
    if len(unknown) == len(names) and all(LIBRARY_NAME.fullmatch(name) for name in names):
        _check_width(len(names), columns)
        return tuple(range(len(columns)))
    raise ForeignModelError(f"{_unknown(unknown)}; {_told(columns)}")


def _known(columns: Sequence[ModelColumn]) -> dict[str, int]:
    """The places of the columns by their names, also as converters write them: _ for what is no letter or digit."""
    exact = {column.name: place for place, column in enumerate(columns)}
    plain = [re.sub(r"[^0-9a-zA-Z]", "_", column.name) for column in columns]
    return {name: place for place, name in enumerate(plain) if plain.count(name) == 1} | exact


def _matrix(entry: ValueInfoProto, columns: Sequence[ModelColumn], names: Sequence[str]) -> BoundInput:
    kind, shape = entry.type.tensor_type.elem_type, _shape(entry)
    if kind == TEXT:
        raise ForeignModelError(
            f"input {entry.name!r} takes text, and is called as no column is: give each column an input of "
            f"its own, by its name; {_told(columns)}"
        )
    width = shape[1] if len(shape) == 2 else 1
    places = places_of(names, columns) if names else tuple(range(len(columns)))
    if width is not None and width != len(places):
        _check_width(width, [columns[place] for place in places])
    return BoundInput(entry.name, kind, len(shape), places)


def _column(entry: ValueInfoProto, name: str, columns: Sequence[ModelColumn], known: Mapping[str, int]) -> BoundInput:
    place, kind, shape = known.get(name), entry.type.tensor_type.elem_type, _shape(entry)
    if place is None:
        raise ForeignModelError(f"{_unknown([name])}; {_told(columns)}")
    if len(shape) == 2 and shape[1] not in {None, 1}:
        raise ForeignModelError(f"input {name!r} takes {shape[1]} columns, and is one column")
    if kind == TEXT and columns[place].kind != "text":
        what = "true or false" if columns[place].kind == "flag" else "a number"
        raise ForeignModelError(f"input {name!r} takes text, and {name} is {what} in product.yaml: train on that")
    return BoundInput(entry.name, kind, len(shape), (place,))


def _check_input(entry: ValueInfoProto) -> None:
    if not entry.type.HasField("tensor_type"):
        raise ForeignModelError(f"input {entry.name!r} is no tensor")
    kind, shape = entry.type.tensor_type.elem_type, _shape(entry)
    if kind not in NUMBERS | {TEXT}:
        shown = TensorProto.DataType.Name(kind)
        raise ForeignModelError(
            f"input {entry.name!r} takes {shown}; float, double, int32, int64, bool and string are known"
        )
    if len(shape) not in {1, 2}:
        raise ForeignModelError(f"input {entry.name!r} has {len(shape)} dimensions, must be (rows, columns)")
    if shape[0] is not None:
        raise ForeignModelError(
            f"input {entry.name!r} takes exactly {shape[0]} rows: export it with a free number of rows (None)"
        )


def _output(graph: GraphProto) -> str:
    if len(graph.output) != 1:
        names = ", ".join(entry.name for entry in graph.output)
        raise ForeignModelError(f"has {len(graph.output)} outputs ({names}), must be one number per row")
    (output,) = graph.output
    if not output.type.HasField("tensor_type"):
        raise ForeignModelError(f"output {output.name!r} is no tensor: a classifier? A regression is needed")
    kind, shape = output.type.tensor_type.elem_type, _shape(output)
    if kind not in {TensorProto.FLOAT, TensorProto.DOUBLE}:
        what = "text" if kind == TEXT else TensorProto.DataType.Name(kind).lower()
        raise ForeignModelError(f"output {output.name!r} is {what}: a classifier? A regression is needed")
    if len(shape) > 2 or (len(shape) == 2 and shape[1] not in {None, 1}):
        raise ForeignModelError(f"output {output.name!r} has shape {shape}, must be one number per row")
    return str(output.name)


def _shape(entry: ValueInfoProto) -> list[int | None]:
    dims = entry.type.tensor_type.shape.dim
    return [dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in dims]


def _check_width(width: int, columns: Sequence[ModelColumn]) -> None:
    if width != len(columns):
        raise ForeignModelError(f"takes {width} columns; {_told(columns)}")


def _unknown(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names))
    return (
        f"takes {shown}, which is no column of the product"
        if len(names) == 1
        else (f"takes {shown}, which are no columns of the product")
    )


def _told(columns: Sequence[ModelColumn]) -> str:
    return f"the product has {len(columns)}: {', '.join(column.name for column in columns)}"
