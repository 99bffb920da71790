"""From rows of the online store to Feast's response: column by column, with statuses, event times and TTL. Pure."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from beacon_core.feature_store.names import BASE_END, BASE_EVENT_TIME
from beacon_feature_serving.catalog.plans import LookupPlan, ViewRead
from beacon_feature_serving.rows import (
    NANOSECONDS,
    NULL_VALUE,
    PRESENT,
    STALE,
    UNKNOWN,
    FeatureRow,
    UnavailableValue,
)

NEVER = "1970-01-01T00:00:00Z"

UNDATED_FROM, UNDATED_TO = (int(time.timestamp()) * NANOSECONDS for time in (BASE_EVENT_TIME, BASE_END))

# Types of the values that are not shown.
NOT_SHOWN = frozenset({UnavailableValue, type(None)})


class FeatureResponse(NamedTuple):
    """Feast's body, and what the metrics count: values by status, the age in seconds of each row that was served."""

    body: dict[str, Any]
    statuses: Counter[str]
    ages: list[float]


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
    plan: LookupPlan,
    columns: Sequence[Sequence[Any]],
    rows: Sequence[Sequence[FeatureRow | None]],
    now: float,
    *,
    versions: bool,
) -> FeatureResponse:
    """Build the response for the entity `columns` (one per key), from the rows of each of the plan's reads.

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
    return FeatureResponse({"metadata": metadata, "results": results}, statuses, ages)


def _add_view(
    read: ViewRead,
    rows: Sequence[FeatureRow | None],
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
        if age > read.ttl_seconds and not (read.undated and _is_undated(row.event_time)):
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
        if not NOT_SHOWN.isdisjoint(map(type, values)):
            column = [_status(value) for value in values]
            shown = [value if status is PRESENT else None for value, status in zip(values, column, strict=True)]
            statuses.update(column)
        else:
            present += length
        results.append({"values": shown, "statuses": column, "event_timestamps": times})
    statuses[PRESENT] += present


def _is_undated(event_time: int) -> bool:
    return UNDATED_FROM <= event_time < UNDATED_TO


def _status(value: Any) -> str:
    if value is None:
        return NULL_VALUE
    return value.status if value.__class__ is UnavailableValue else PRESENT
