"""Rows of the lake that some actuals may belong to: those of their ids, and those of their entities."""

from collections.abc import Iterator, Sequence
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from beacon_core.data.prediction_log.lake.blocks import microseconds
from beacon_core.data.prediction_log.lake.columns import TEXT, TIME
from beacon_core.data.prediction_log.lake.handle import LakeHandle
from beacon_core.data.prediction_log.lake.read import MICROSECOND, found_rows, scan_matching, scan_tables
from beacon_core.data.prediction_log.port import LogSlice

SEARCHED = 1 << 18
"""Rows that are looked at together: each look makes a table of all ids and entities that are sought."""
FEW = 1000
"""So few ids are found by their own times; more are looked for in every file."""


def candidates(
    handle: LakeHandle, ids: Sequence[str], entities: Sequence[str], columns: Sequence[str], rows: LogSlice
) -> Iterator[pa.Table]:
    """Yield those columns, and id and time, of the rows of a slice that have one of the ids or of the entities."""
    wanted = list(dict.fromkeys(("id", "time", "entity", *columns)))
    if not entities and len(ids) <= FEW:
        if ids:
            yield found_rows(handle, ids, wanted).select(wanted)
        return
    names, persons = pa.array(ids, TEXT), pa.array(entities, TEXT)
    for table in scan_tables(handle, rows, wanted, size=SEARCHED):
        hits = pc.is_in(table["id"], names)
        if len(persons):
            hits = pc.or_(hits, pc.is_in(table["entity"], persons))
        yield table.filter(hits).select(wanted)


def has_row_of(handle: LakeHandle, entity: str, after: datetime, until: datetime) -> bool:
    """Whether an entity has a prediction that was made after a moment, and not after `until`."""
    name = pa.scalar(entity, TEXT)
    slice_of = LogSlice(since=after + MICROSECOND, until=until + MICROSECOND)
    found = scan_matching(handle, slice_of, ["id"], ["entity"], lambda table: pc.equal(table["entity"], name))
    return any(len(table) for table in found)


def joined(handle: LakeHandle, given: pa.Table, columns: Sequence[str], size: int) -> Iterator[pa.Table]:
    """Yield those columns of the rows that `given` names by id and time, with its other columns, in batches.

    Files are read once, in the order of time: neither they nor the rows need to be in memory.
    """
    if not len(given):
        return
    given = given.sort_by([("time", "ascending")])
    times = given["time"].combine_chunks().cast(pa.int64()).to_numpy()
    ends = given["time"][0].as_py(), given["time"][-1].as_py()

    def named(table: pa.Table) -> pa.Table:
        """Those of `given` that were made in the time of a table's rows."""
        span = pc.min_max(table["time"].cast(pa.int64())).as_py()
        begin, end = times.searchsorted(span["min"], "left"), times.searchsorted(span["max"], "right")
        return given.slice(begin, end - begin)

    def matching(table: pa.Table) -> pa.ChunkedArray:
        return pc.is_in(table["id"], named(table)["id"].combine_chunks())

    others = [name for name in given.column_names if name not in {"id", "time"}]
    rows = LogSlice(since=ends[0], until=ends[1] + MICROSECOND)
    for table in scan_matching(handle, rows, columns, ["id"], matching, size=size):
        near = named(table)
        places = pc.index_in(table["id"], near["id"].combine_chunks())
        with_others = {name: near[name].take(places) for name in others}
        yield pa.table(dict(zip(table.column_names, table.columns, strict=True)) | with_others)


def moments(times: Sequence[datetime]) -> pa.Array:
    """Times as the lake has them."""
    return pa.array([microseconds(time) for time in times], pa.int64()).cast(TIME)
