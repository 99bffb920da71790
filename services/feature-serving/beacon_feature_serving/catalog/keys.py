"""Entity keys of requests: checked by the types of the join keys, then encoded as Feast's online stores have them."""

from collections.abc import Callable, Sequence
from typing import Any

from feast import ValueType

from beacon_core.domain.text import normal_text
from beacon_core.feature_store.entity_keys import INTEGERS, key_encoder
from beacon_feature_serving.errors import feast_error

KeyReader = Callable[[Sequence[Sequence[Any]], Sequence[str]], list[bytes]]
"""Columns of entity values, one per join key, and their names in the request, to one encoded key per entity."""


def key_reader(types: dict[str, ValueType]) -> KeyReader:
    """Return the reader for these join keys; it raises `FeastResponseError` for a value that cannot be one."""
    kinds = tuple(types.values())
    encode = key_encoder(types)

    def read(columns: Sequence[Sequence[Any]], names: Sequence[str]) -> list[bytes]:
        checked = zip(columns, kinds, names, strict=True)
        return encode([check_keys(column, kind, name) for column, kind, name in checked])

    return read


def check_keys(column: Sequence[Any], kind: ValueType, name: str) -> Sequence[Any]:
    """The column's keys, texts in their one spelling; each must be one that `kind` can hold (`true` is no integer)."""
    wanted: type = int if kind in INTEGERS else str
    bound: int = 1 << (INTEGERS[kind][0] - 1) if kind in INTEGERS else 0
    # The whole column at once first, which is faster than naming the bad value.
    if set(map(type, column)) == {wanted}:
        if wanted is str:
            return list(map(normal_text, column))
        if -bound <= min(column) <= max(column) < bound:
            return column
    for row, value in enumerate(column):
        foreign = type(value) is not wanted
        if foreign:
            rule = "must be an integer" if wanted is int else "must be a string"
        elif wanted is int and not -bound <= value < bound:
            rule = f"does not fit {kind.name}"
        else:
            continue
        raise feast_error("invalid_entity", f"{name}[{row}]: {rule}", f"entities.{name}[{row}]")
    return column
