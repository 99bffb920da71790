"""Entity keys as Feast's online stores encode them."""

import struct
from collections.abc import Callable, Sequence
from typing import Any

from feast import ValueType
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from beacon_feature_serving.errors import feast_error

# (columns of entity values, one per join key; their names in the request) -> one key per entity
KeyEncoder = Callable[[Sequence[Sequence[Any]], Sequence[str]], list[bytes]]

# Feast's value types that can be entity keys: the Python type and the range a value must have, and the proto's field.
INTEGERS: dict[ValueType, tuple[int, str]] = {ValueType.INT64: (64, "int64_val"), ValueType.INT32: (32, "int32_val")}


def key_encoder(types: dict[str, ValueType], version: int) -> KeyEncoder:
    """Return the encoder for these join keys; it raises `FeastResponseError` for a value that cannot be one."""
    if list(types.values()) == [ValueType.INT64]:
        return _one_integer(next(iter(types)), version)
    return _any_keys(types, version)


def _one_integer(join_key: str, version: int) -> KeyEncoder:
    """The usual case: one int64, which is a constant head and eight bytes; Feast's own encoder makes the head."""
    head = _serialized({join_key: Value(int64_val=0)}, version)[:-8]
    pack = struct.Struct("<q").pack

    def encode(columns: Sequence[Sequence[Any]], names: Sequence[str]) -> list[bytes]:
        check_keys(columns[0], ValueType.INT64, names[0])
        return [head + pack(value) for value in columns[0]]

    return encode


def _any_keys(types: dict[str, ValueType], version: int) -> KeyEncoder:
    join_keys = tuple(types)
    kinds = tuple(types.values())
    fields = [INTEGERS[kind][1] if kind in INTEGERS else "string_val" for kind in kinds]

    def encode(columns: Sequence[Sequence[Any]], names: Sequence[str]) -> list[bytes]:
        for column, kind, name in zip(columns, kinds, names, strict=True):
            check_keys(column, kind, name)
        return [
            _serialized(
                {key: Value(**{field: v}) for key, field, v in zip(join_keys, fields, row, strict=True)}, version
            )
            for row in zip(*columns, strict=True)
        ]

    return encode


def _serialized(values: dict[str, Value], version: int) -> bytes:
    key = EntityKey(join_keys=values.keys(), entity_values=values.values())
    return serialize_entity_key(key, entity_key_serialization_version=version)


def check_keys(column: Sequence[Any], kind: ValueType, name: str) -> None:
    """Refuse the column unless each value is one that `kind` can hold; `true` is not an integer."""
    wanted: type = int if kind in INTEGERS else str
    bound: int = 1 << (INTEGERS[kind][0] - 1) if kind in INTEGERS else 0
    # The whole column at once first, which is faster than naming the bad value.
    if set(map(type, column)) == {wanted} and (wanted is str or -bound <= min(column) <= max(column) < bound):
        return
    for row, value in enumerate(column):
        foreign = type(value) is not wanted
        if foreign:
            rule = "must be an integer" if wanted is int else "must be a string"
        elif wanted is int and not -bound <= value < bound:
            rule = f"does not fit {kind.name}"
        else:
            continue
        raise feast_error("invalid_entity", f"{name}[{row}]: {rule}", f"entities.{name}[{row}]")
