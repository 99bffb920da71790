"""Rows of the online store as the service returns them: decoded values, and Feast's statuses for missing ones."""

import struct
from collections.abc import Sequence
from math import isfinite
from typing import Any, NamedTuple

from feast.feature_server_utils import _value_to_native
from feast.protos.feast.types.Value_pb2 import Value

PRESENT = "PRESENT"
NULL_VALUE = "NULL_VALUE"
NOT_FOUND = "NOT_FOUND"
OUTSIDE_MAX_AGE = "OUTSIDE_MAX_AGE"
STATUSES = (PRESENT, NULL_VALUE, NOT_FOUND, OUTSIDE_MAX_AGE)

NANOSECONDS = 1_000_000_000

# A Value proto that holds a double and nothing else: the tag of field 5, then eight bytes.
DOUBLE_TAG = 0x29
DOUBLE_SIZE = 9
_double = struct.Struct("<d").unpack_from


class UnavailableValue:
    """Stands in a row for a missing value, with the status that says why."""

    __slots__ = ("status",)

    def __init__(self, status: str) -> None:
        self.status = status


UNKNOWN = UnavailableValue(NOT_FOUND)
STALE = UnavailableValue(OUTSIDE_MAX_AGE)


class FeatureRow(NamedTuple):
    """One entity's values of one view, in the plan's order; `event_time` in nanoseconds since the epoch.

    A value that was stored as missing is None, one that was never stored is `UNKNOWN`.
    """

    event_time: int
    values: Sequence[Any]


def decode_value(cell: bytes) -> Any:
    """Return the stored Value as JSON has it; None for a missing one, text for NaN and infinities, as Feast does."""
    if len(cell) == DOUBLE_SIZE and cell[0] == DOUBLE_TAG:
        (value,) = _double(cell, 1)
        if isfinite(value):
            return value
    return _value_to_native(Value.FromString(cell)) if cell else None
