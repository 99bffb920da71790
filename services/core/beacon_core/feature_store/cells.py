"""Columns as Feast's online stores hold them: one serialized `Value` per cell, a whole column at once.

Feast makes a protobuf message of each cell. Here a double is packed as its nine bytes, and of all other columns each
distinct value is serialized once; the bytes are the same.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from feast.protos.feast.types.Value_pb2 import Value

from beacon_core.feature_store.columns import shown_values

MISSING = Value().SerializeToString()
DOUBLE = b"\x29"
"""The tag of a `Value` that holds a double and nothing else; eight bytes follow."""
PACKED = np.dtype([("tag", "u1"), ("double", "<f8")])


def to_cells(column: pa.ChunkedArray) -> list[bytes]:
    """The column's values, serialized; `MISSING` for null and NaN."""
    if pa.types.is_floating(column.type):
        numbers = column.to_numpy()
        packed = np.empty(len(numbers), PACKED)
        packed["tag"], packed["double"] = DOUBLE[0], numbers
        cells: list[bytes] = packed.view(f"V{PACKED.itemsize}").tolist()
        for place in np.flatnonzero(np.isnan(numbers)):
            cells[place] = MISSING
        return cells
    encoded = column.combine_chunks().dictionary_encode()
    make = _maker(column.type)
    known = [make(value).SerializeToString() for value in shown_values(encoded.dictionary)]
    return [MISSING if place is None else known[place] for place in encoded.indices.to_pylist()]


def to_values(column: pa.ChunkedArray) -> list[Value]:
    """The column's values as Feast's messages, for stores that only Feast writes to."""
    return [Value.FromString(cell) for cell in to_cells(column)]


def to_texts(column: pa.ChunkedArray) -> list[str | None]:
    """The column's values as Feast's SQLite store shows them beside the cells."""
    values = _numbers(column) if pa.types.is_floating(column.type) else shown_values(column)
    return [None if value is None else str(value) for value in values]


def _numbers(column: pa.ChunkedArray) -> list[float | None]:
    """The numbers; None for NaN."""
    numbers: list[float | None] = pc.if_else(pc.is_nan(column), None, column).to_pylist()
    return numbers


def _maker(kind: pa.DataType) -> Callable[[Any], Value]:
    if pa.types.is_boolean(kind):
        return lambda value: Value(bool_val=value)
    if pa.types.is_integer(kind):
        return lambda value: Value(int64_val=value)
    return lambda value: Value(string_val=value)
