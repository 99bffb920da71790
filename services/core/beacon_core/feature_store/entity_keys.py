"""Entity keys as Feast's online stores encode them (version 3), a whole column at once.

Feast's own encoder takes one protobuf message per entity; this one writes the same bytes. The layout: the number of
columns, their names in order, then for each the type, the length and the bytes of its value.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Any

from feast import ValueType
from feast.infra.key_encoding_utils import serialize_entity_key_prefix

KeyEncoder = Callable[[Sequence[Sequence[Any]]], list[bytes]]
"""Columns of valid key values, one per join key, to one encoded key per entity."""
VERSION = 3
INTEGERS = {ValueType.INT64: (64, "<IIq"), ValueType.INT32: (32, "<IIi")}
"""Types of whole numbers that can be keys: their bits, and the layout of type, length and value."""


def key_encoder(types: dict[str, ValueType]) -> KeyEncoder:
    """The encoder for these join keys and their types; the columns come in the order of `types`."""
    names = list(types)
    order = sorted(range(len(names)), key=names.__getitem__)
    head: bytes = serialize_entity_key_prefix(sorted(names), VERSION)
    encoders = [_value_encoder(types[names[place]]) for place in order]
    if len(names) == 1:
        (encode_one,) = encoders
        return lambda columns: [head + encode_one(value) for value in columns[0]]

    def encode(columns: Sequence[Sequence[Any]]) -> list[bytes]:
        parts = [map(encoder, columns[place]) for encoder, place in zip(encoders, order, strict=True)]
        return [head + b"".join(values) for values in zip(*parts, strict=True)]

    return encode


def _value_encoder(kind: ValueType) -> Callable[[Any], bytes]:
    if kind in INTEGERS:
        bits, layout = INTEGERS[kind]
        pack = struct.Struct(layout).pack
        return lambda value: pack(kind.value, bits // 8, value)
    pack_head = struct.Struct("<II").pack

    def encode(value: str) -> bytes:
        text = value.encode()
        return pack_head(kind.value, len(text)) + text

    return encode
