"""Reads the JSON of standard protocols: bodies as Structs, and tables, fast where all their values are numbers."""

import math
import re
from typing import Any

import msgspec
import numpy as np

from beacon_core.domain.errors import BeaconError
from beacon_core.domain.integers import whole_or_float
from beacon_inference.matrix import Matrix
from beacon_inference.prediction.values import UNREADABLE, read_leniently

Numbers = list[float | None]
_decode_flat = msgspec.json.Decoder(Numbers).decode
_decode_nested = msgspec.json.Decoder(list[Numbers]).decode
_decode_plain = msgspec.json.Decoder().decode
_decode_exactly = msgspec.json.Decoder(float_hook=whole_or_float).decode
# A string, whole or cut off, or a bare NaN.
NAN = re.compile(rb'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|\bNaN\b', re.DOTALL)


def decode(body: bytes, kind: type[Any]) -> Any:
    """Decode a JSON body into `kind`; raises BeaconError `invalid_json` or `invalid_body`."""
    try:
        return msgspec.json.decode(body, type=kind)
    except UNREADABLE as error:
        _refuse_infinite(read_leniently(body, error))
        rule, _, path = str(error).partition(" - at `$")
        raise BeaconError("invalid_body", rule, path.strip("`.")[:128] or None) from error


def is_present(raw: msgspec.Raw) -> bool:
    """Whether an optional part of the body is present; null counts as absent."""
    return bytes(raw) not in {b"", b"null"}


def nan_as_null(body: bytes) -> bytes:
    """Replace each bare NaN, which is not JSON, by null: MLflow's client writes missing values so."""
    if b"NaN" not in body:
        return body
    return NAN.sub(lambda found: b"null" if found[0] == b"NaN" else found[0], body)


def plain(raw: msgspec.Raw, *, exactly: bool = False) -> Any:
    """Decode a part of the body that `decode` only skipped; raises BeaconError `invalid_json`.

    Numbers that are too large become infinities, so that the check that follows can name them. `exactly`
    reads decimals that are whole numbers as int, which takes several times as long.
    """
    try:
        return (_decode_exactly if exactly else _decode_plain)(raw)
    except UNREADABLE as error:
        return read_leniently(bytes(raw), error)


def flat(raw: msgspec.Raw, field: str, *, exactly: bool = False) -> list[Any]:
    """Read a list, or a list of lists, as one list of values, as `plain` does; raises BeaconError `invalid_type`."""
    values = plain(raw, exactly=exactly)
    if not isinstance(values, list):
        raise BeaconError("invalid_type", "must be a list", field)
    if list not in map(type, values):
        return values
    return [item for value in values for item in (value if isinstance(value, list) else [value])]


def flat_numbers(raw: msgspec.Raw) -> Matrix | None:
    """Read a list of numbers and nulls, or a list of such lists, as one array; None where it is none."""
    try:
        return np.array(_decode_flat(raw), dtype=np.float64)
    except UNREADABLE:
        pass
    try:
        rows = _decode_nested(raw)
    except UNREADABLE:
        return None
    return np.array([value for row in rows for value in row], dtype=np.float64)


def rows(raw: msgspec.Raw, field: str) -> Matrix | list[list[Any]]:
    """Read a list of rows of one length: as a matrix where all values are numbers and nulls, else as lists.

    Raises BeaconError `invalid_type` or `invalid_shape`.
    """
    try:
        numbers = _decode_nested(raw)
    except UNREADABLE:
        pass
    else:
        _check_lengths(numbers, field)
        return np.array(numbers, dtype=np.float64).reshape(len(numbers), len(numbers[0]) if numbers else 0)
    found = plain(raw)
    if not isinstance(found, list):
        raise BeaconError("invalid_type", "must be a list of rows", field)
    for index, row in enumerate(found):
        if not isinstance(row, list):
            raise BeaconError("invalid_shape", "every row must be a list, or every row an object", f"{field}[{index}]")
    _check_lengths(found, field)
    return found


def _check_lengths(found: list[list[Any]], field: str) -> None:
    if len({len(row) for row in found}) > 1:
        raise BeaconError("invalid_shape", "the rows are of unequal length", field)


def _refuse_infinite(body: Any) -> None:
    """Raise BeaconError `not_finite` for a NaN or infinity, which Python reads from NaN and 1e999."""
    waiting = [("", body)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, float) and not math.isfinite(value):
            raise BeaconError("not_finite", "must be a finite number", path.lstrip(".")[:128] or None)
        if isinstance(value, dict):
            waiting += [(f"{path}.{key}", item) for key, item in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{path}[{index}]", item) for index, item in enumerate(value)]
