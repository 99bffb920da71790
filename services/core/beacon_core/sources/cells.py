"""Python values, as JSON and databases give them, as text that keeps all their digits."""

import math
from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa


class CellError(ValueError):
    """A value that no cell of a table can hold; `place` is its position among those that were given."""

    def __init__(self, place: int, rule: str) -> None:
        super().__init__(rule)
        self.place = place


def text_column(values: Sequence[Any]) -> pa.Array:
    """The values as text, None where one is missing; raises `CellError`."""
    return pa.array([_text(place, value) for place, value in enumerate(values)], pa.string())


def _text(place: int, value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    convert = FORMS.get(type(value))
    if convert is not None:
        return convert(value)
    if isinstance(value, bytes | bytearray | memoryview):
        try:
            return bytes(value).decode()
        except UnicodeDecodeError:
            raise CellError(place, "holds bytes that are no text") from None
    if isinstance(value, list | dict | tuple | set):
        raise CellError(place, "holds a list or an object; a cell must hold one value")
    return str(value)


FORMS: dict[type, Callable[[Any], str | None]] = {
    bool: lambda value: "true" if value else "false",
    int: str,
    float: lambda value: None if math.isnan(value) else repr(value),
    Decimal: lambda value: None if value.is_nan() else str(value),
    datetime: lambda value: value.isoformat(" "),
    date: lambda value: value.isoformat(),
}
