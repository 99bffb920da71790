"""The port's removals: what goes is gone for the handle's own questions at once, and for all when the handle ends."""

from collections.abc import Iterator, Sequence
from datetime import datetime

import pyarrow as pa

from beacon_core.data.prediction_log.lake.blocks import microseconds
from beacon_core.data.prediction_log.lake.handle import LakeHandle
from beacon_core.data.prediction_log.lake.read import count, entity_rows, found_rows, scan_tables
from beacon_core.data.prediction_log.lake.rows import tuples
from beacon_core.data.prediction_log.port import ForgottenRow, LogSlice

FIRST_ID = ""
"""Before every id."""


def forget(
    handle: LakeHandle, /, *, entity: str | None = None, ids: Sequence[str] = (), most: int
) -> list[ForgottenRow]:
    """Delete at most so many of the rows of the entity, or of those with these ids; an empty list ends it.

    Each handle writes the files anew that have such rows: give it many at once.
    """
    columns = ForgottenRow._fields
    found: list[ForgottenRow] = []
    tables: Iterator[pa.Table] = (
        iter([found_rows(handle, ids, columns)]) if entity is None else entity_rows(handle, entity, columns)
    )
    for table in tables:
        found += [ForgottenRow(*row) for row in tuples(table, columns)]
        if len(found) >= most:
            break
    found = found[:most]
    handle.removal.times |= {row.id: microseconds(row.time) for row in found}
    return found


def expire(handle: LakeHandle, before: datetime, most: int, /) -> int:
    """Delete at most so many of the rows made before a moment, the oldest first; 0 ends it.

    Files whose rows all go are dropped without being read: give it many at once.
    """
    old = LogSlice(until=before)
    rows = count(handle, old)
    if rows == 0:
        return 0
    if rows <= most:
        handle.removal.until = (microseconds(before), FIRST_ID)
        return rows
    last = None
    for table in scan_tables(handle, old, ["time", "id"], limit=most):
        last = tuples(table, ["time", "id"])[-1]
    assert last is not None  # noqa: S101 - there are rows
    handle.removal.until = (microseconds(last[0]), last[1])
    return most
