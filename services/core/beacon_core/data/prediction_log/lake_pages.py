"""The pages of `log_pages` and `log_rows`, of a log that is read from the lake.

Rows are looked at from the newest on; an entity is not looked up by an index, but among `MOST_SEARCHED` rows a page.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection

from beacon_core.data.prediction_log import which_actual
from beacon_core.data.prediction_log.either import scan
from beacon_core.data.prediction_log.page_types import (
    MOST_JOINED,
    MOST_SEARCHED,
    OF_LOG,
    LogFilter,
    LoggedValue,
    LogLine,
    LogPage,
    LogPosition,
    ShadowPair,
)
from beacon_core.data.prediction_log.port import LogSlice

MICROSECOND = timedelta(microseconds=1)
READ_ROWS = 1000
TIME, ID, ENTITY = (OF_LOG.index(name) for name in ("time", "id", "entity"))
OUTSIDE = OF_LOG.index("out_of_range")


def page_of(connection: Connection, wanted: LogFilter, after: LogPosition | None, size: int) -> LogPage:
    """The predictions that a filter lets pass, beginning behind `after`, at most `size` of them."""
    most = MOST_JOINED if wanted.needs_actuals else MOST_SEARCHED
    ends = [end for end in (wanted.until, None if after is None else after.time + MICROSECOND) if end is not None]
    rows = LogSlice(wanted.since, min(ends, default=None), wanted.version)
    lines: list[LogLine] = []
    batches = scan(connection, rows, OF_LOG, newest_first=True, limit=most + READ_ROWS, size=READ_ROWS)
    for searched, row in enumerate(_from(batches, after), 1):
        if _passes(row, wanted):
            line = _line(connection, row)
            if _passes_with_actual(line, wanted):
                lines.append(line)
        if len(lines) > size:
            final = lines[size - 1]
            return LogPage(lines[:size], LogPosition(final.time, final.id), None)
        if searched == most:
            return LogPage(lines, LogPosition(row[TIME], row[ID]), row[TIME])
    return LogPage(lines, None, None)


def rows_after(connection: Connection, rows: LogSlice, after: LogPosition | None, most: int) -> list[LogLine]:
    """The first rows of a slice that follow `after`, the oldest first."""
    found: list[LogLine] = []
    for batch in scan(connection, rows, OF_LOG, size=READ_ROWS):
        for row in batch:
            if after is None or (row[TIME], row[ID]) > (after.time, after.id):
                found.append(_line(connection, row))
                if len(found) == most:
                    return found
    return found


def shadow_pairs(
    connection: Connection, version: str, shadow: str, features: Sequence[str], most: int
) -> list[ShadowPair]:
    """The newest rows that `version` answered while `shadow` answered them in shadow; of some features alone."""
    columns = ("id", "time", "entity", "prediction", "shadow_version", "shadow_prediction", "features")
    found: list[ShadowPair] = []
    rows = scan(connection, LogSlice(model_version=version), columns, newest_first=True, limit=MOST_SEARCHED)
    for batch in rows:
        for name, time, entity, answer, by, other, values in batch:
            if by == shadow and other is not None and len(found) < most:
                actual = which_actual.find(connection, name, entity, time)
                chosen = {feature: values.get(feature) for feature in features}
                found.append(ShadowPair(name, time, entity, answer, other, chosen, actual and actual.value))
    return found


def newest_values(connection: Connection, feature: str, most: int) -> list[LoggedValue]:
    """A feature's values in the newest predictions, the newest first."""
    columns = ("time", "features", "imputed", "out_of_range")
    return [
        LoggedValue(time, features.get(feature), feature in imputed, feature in outside)
        for batch in scan(connection, LogSlice(), columns, newest_first=True, limit=most)
        for time, features, imputed, outside in batch
    ]


def _from(batches: Iterator[list[Any]], after: LogPosition | None) -> Iterator[tuple[Any, ...]]:
    for batch in batches:
        for row in batch:
            if after is None or (row[TIME], row[ID]) < (after.time, after.id):
                yield row


def _passes(row: Sequence[Any], wanted: LogFilter) -> bool:
    if wanted.entity is not None and row[ENTITY] != wanted.entity:
        return False
    return wanted.is_out_of_range is None or bool(row[OUTSIDE]) == wanted.is_out_of_range


def _line(connection: Connection, row: Sequence[Any]) -> LogLine:
    actual = which_actual.find(connection, row[ID], row[ENTITY], row[TIME])
    return LogLine(*row, *((None, None) if actual is None else (actual.value, actual.observed_at)))


def _passes_with_actual(line: LogLine, wanted: LogFilter) -> bool:
    if wanted.has_actual is not None and (line.actual is not None) != wanted.has_actual:
        return False
    return wanted.error_above is None or (line.error is not None and abs(line.error) > wanted.error_above)
