"""From rows of the online store to Feast's answer: column by column, with statuses, event times and TTL. Pure."""

import struct
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from math import isfinite
from typing import Any, NamedTuple

from feast.feature_server_utils import _value_to_native
from feast.protos.feast.types.Value_pb2 import Value

from beacon_feature_serving.catalog import Plan, ViewPlan

PRESENT = "PRESENT"
NULL_VALUE = "NULL_VALUE"
NOT_FOUND = "NOT_FOUND"
OUTSIDE_MAX_AGE = "OUTSIDE_MAX_AGE"
STATUSES = (PRESENT, NULL_VALUE, NOT_FOUND, OUTSIDE_MAX_AGE)

NEVER = "1970-01-01T00:00:00Z"
NANOSECONDS = 1_000_000_000

# A Value proto that holds a double and nothing else: the tag of field 5, then eight bytes.
DOUBLE_TAG = 0x29
DOUBLE_SIZE = 9
_double = struct.Struct("<d").unpack_from


class Absent:
    """Stands in a row for a value that is not there, and says why."""

    __slots__ = ("status",)

    def __init__(self, status: str) -> None:
        self.status = status


# Types of the values that are not shown.
WITHHELD = frozenset({Absent, type(None)})
UNKNOWN = Absent(NOT_FOUND)
STALE = Absent(OUTSIDE_MAX_AGE)


class Row(NamedTuple):
    """One entity's values of one view, in the plan's order; `event_time` in nanoseconds since the epoch.

    A value that was stored as missing is None, one that was never stored is `UNKNOWN`.
    """

    event_time: int
    values: Sequence[Any]


class Answer(NamedTuple):
    """Feast's body, and what the metrics are told: values by status, the age in seconds of each row that was served."""

    body: dict[str, Any]
    statuses: Counter[str]
    ages: list[float]


def decode_value(cell: bytes) -> Any:
    """Return the stored Value as JSON has it; None for a missing one, text for NaN and infinities, as Feast does."""
    if len(cell) == DOUBLE_SIZE and cell[0] == DOUBLE_TAG:
        (value,) = _double(cell, 1)
        if isfinite(value):
            return value
    return _value_to_native(Value.FromString(cell)) if cell else None


@lru_cache(maxsize=4096)
def rfc3339(nanoseconds: int) -> str:
    """The time as protobuf's JSON has it: UTC, 0, 3, 6 or 9 digits of a second."""
    seconds, rest = divmod(nanoseconds, NANOSECONDS)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    for digits in (0, 3, 6, 9):
        if rest % 10 ** (9 - digits) == 0:
            break
    return f"{text}Z" if rest == 0 else f"{text}.{rest // 10 ** (9 - digits):0{digits}d}Z"


def assemble(
    plan: Plan, columns: Sequence[Sequence[Any]], rows: Sequence[Sequence[Row | None]], now: float, *, versions: bool
) -> Answer:
    """Put together the answer for the entity `columns` (one a key), from the rows of each of the plan's reads.

    `now` is in seconds since the epoch. A row older than its view's TTL is withheld.
    """
    length = len(columns[0])
    results: list[dict[str, Any]] = [
        {"values": column, "statuses": [PRESENT] * length, "event_timestamps": [NEVER] * length} for column in columns
    ]
    statuses: Counter[str] = Counter()
    ages: list[float] = []
    for read, found in zip(plan.reads, rows, strict=True):
        _add_view(read, found, now, results, statuses, ages)
    metadata: dict[str, Any] = {"feature_names": plan.names}
    if versions:
        # A version of 0 is left out, as protobuf leaves out defaults.
        metadata["feature_view_metadata"] = [
            {"name": name} | ({"version": version} if version else {}) for name, version in plan.versions
        ]
    return Answer({"metadata": metadata, "results": results}, statuses, ages)


def _add_view(
    read: ViewPlan,
    rows: Sequence[Row | None],
    now: float,
    results: list[dict[str, Any]],
    statuses: Counter[str],
    ages: list[float],
) -> None:
    width = len(read.columns)
    times: list[str] = []
    cells: list[Sequence[Any]] = []
    for row in rows:
        if row is None:
            times.append(NEVER)
            cells.append((UNKNOWN,) * width)
            continue
        age = now - row.event_time / NANOSECONDS
        times.append(rfc3339(row.event_time))
        if age > read.ttl_seconds:
            cells.append((STALE,) * width)
        else:
            cells.append(row.values)
            ages.append(age)
    length = len(rows)
    all_present = [PRESENT] * length
    present = 0
    for values in zip(*cells, strict=True):
        shown: Sequence[Any] = values
        column = all_present
        if not WITHHELD.isdisjoint(map(type, values)):
            column = [_status(value) for value in values]
            shown = [value if status is PRESENT else None for value, status in zip(values, column, strict=True)]
            statuses.update(column)
        else:
            present += length
        results.append({"values": shown, "statuses": column, "event_timestamps": times})
    statuses[PRESENT] += present


def _status(value: Any) -> str:
    if value is None:
        return NULL_VALUE
    return value.status if value.__class__ is Absent else PRESENT
