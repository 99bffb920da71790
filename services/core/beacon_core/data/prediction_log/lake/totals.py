"""How many predictions the lake has, by hour, model version and client: added up file by file, each file once.

Files never change, so that what one has is kept in memory; erasure and retention write other files.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from beacon_core.data.prediction_log.lake.files import OpenFile
from beacon_core.data.prediction_log.lake.handle import LakeHandle
from beacon_core.data.prediction_log.lake.plan import pieces

HOUR = 3_600_000_000
COLUMNS = ("time", "model_version", "client", "logged_at")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Total(NamedTuple):
    """Rows of one hour, one model version and one client (None: without a key), with their first and last times.

    `logged_at` is when the last of them came into the lake. Files give several totals of the same.
    """

    hour: datetime
    model_version: str
    client: str | None
    rows: int
    first: datetime
    last: datetime
    logged_at: datetime


class _FileTotals(NamedTuple):
    path: str
    totals: list[Total]


def totals(handle: LakeHandle) -> list[Total]:
    """The totals of each file of the handle's snapshot."""
    lake, paths = handle.lake, [piece.file.file_path for piece in pieces(handle.lake, handle.table)]
    with lake.lock:
        known = {path: lake.totals[path] for path in paths if path in lake.totals}
    new = [path for path in paths if path not in known]
    counted = {one.path: one.totals for one in handle.jobs.run(partial(_of_file, handle), new)}
    with lake.lock:
        lake.totals.update(counted)
    known |= counted
    return [total for path in paths for total in known[path]]


def _of_file(handle: LakeHandle, path: str) -> Iterator[_FileTotals]:
    with OpenFile(handle.lake, handle.table, path) as file:
        # Some groups at once: all of a file of a million rows would take 100 MB.
        groups = [group.number for group in file.groups()]
        parts = [file.read(groups[begin : begin + 16], COLUMNS) for begin in range(0, len(groups), 16)]
    yield _FileTotals(path, _added_up(map(_grouped, parts)))


def _grouped(rows: pa.Table) -> pa.Table:
    times = rows["time"].cast(pa.int64())
    numbers = pa.table(
        {
            "hour": pc.floor(pc.divide(times.cast(pa.float64()), float(HOUR))).cast(pa.int64()),
            "model_version": rows["model_version"],
            "client": rows["client"],
            "time": times,
            "logged_at": rows["logged_at"].cast(pa.int64()),
        }
    )
    of_each = [("time", "count"), ("time", "min"), ("time", "max"), ("logged_at", "max")]
    return numbers.group_by(["hour", "model_version", "client"]).aggregate(of_each)


def _added_up(parts: Iterable[pa.Table]) -> list[Total]:
    found: dict[tuple[int, str, str | None], tuple[int, int, int, int]] = {}
    for part in parts:
        for row in part.to_pylist():
            key = row["hour"], row["model_version"], row["client"]
            new = row["time_count"], row["time_min"], row["time_max"], row["logged_at_max"]
            old = found.get(key)
            found[key] = new if old is None else (old[0] + new[0], min(old[1], new[1]), *map(max, old[2:], new[2:]))
    return [
        Total(_moment(hour * HOUR), version, client, rows, _moment(first), _moment(last), _moment(logged))
        for (hour, version, client), (rows, first, last, logged) in found.items()
    ]


def _moment(microseconds: int) -> datetime:
    return EPOCH + timedelta(microseconds=microseconds)
