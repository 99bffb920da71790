"""Rows of the lake that some actuals may belong to: those of their ids, and those of their entities."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from beacon_core.data.prediction_log.lake.blocks import microseconds
from beacon_core.data.prediction_log.lake.columns import TEXT, TIME
from beacon_core.data.prediction_log.lake.files import cut
from beacon_core.data.prediction_log.lake.handle import LakeHandle
from beacon_core.data.prediction_log.lake.plan import Piece, pieces
from beacon_core.data.prediction_log.lake.read import (
    MICROSECOND,
    found_rows,
    pieces_of,
    rows_in_order,
    scan_matching,
)
from beacon_core.data.prediction_log.port import LogSlice

SEARCHED = 1 << 18
"""Rows that are looked at together: each look makes a table of all ids and entities that are sought."""
NAMED = 50_000
"""Rows that are asked for together: what a task has, and what its results come to."""
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
    sought = pa.array(ids, TEXT), pa.array(entities, TEXT)
    yield from handle.jobs.run(partial(_candidates_in, handle, sought, wanted, rows), pieces_of(handle, rows))


def _candidates_in(
    handle: LakeHandle, sought: tuple[pa.Array, pa.Array], wanted: Sequence[str], rows: LogSlice, piece: Piece
) -> Iterator[pa.Table]:
    """Those of one file."""
    names, persons = sought
    for table in cut(rows_in_order(handle, [piece], rows, wanted), SEARCHED):
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


class _Named(NamedTuple):
    """A file, and the rows of it, or of its time, that are asked for: by id and time, with columns of their own."""

    piece: Piece
    given: pa.Table


def joined(handle: LakeHandle, given: pa.Table, columns: Sequence[str], size: int) -> Iterator[pa.Table]:
    """Yield those columns of the rows that `given` names by id and time, with its other columns, in batches.

    They come file by file. Neither a file nor all of the rows need be in memory.
    """
    if not len(given):
        return
    given = given.sort_by([("time", "ascending")])
    yield from handle.jobs.run(partial(_joined_in, handle, columns, size), _named(handle, given))


def _named(handle: LakeHandle, given: pa.Table) -> Iterator[_Named]:
    """Each file with what was made in its time, some rows at once."""
    times = given["time"].combine_chunks().cast(pa.int64()).to_numpy()
    for piece in pieces(handle.lake, handle.table, int(times[0]), int(times[-1])):
        begin, end = times.searchsorted(piece.first, "left"), times.searchsorted(piece.last, "right")
        for first in range(int(begin), int(end), NAMED):
            yield _Named(piece, given.slice(first, min(NAMED, int(end) - first)))


def _joined_in(handle: LakeHandle, columns: Sequence[str], size: int, named: _Named) -> Iterator[pa.Table]:
    given = named.given
    names, times = given["id"].combine_chunks(), given["time"]
    rows = LogSlice(since=times[0].as_py(), until=times[-1].as_py() + MICROSECOND)
    others = [name for name in given.column_names if name not in {"id", "time"}]

    def matching(table: pa.Table) -> pa.ChunkedArray:
        return pc.is_in(table["id"], names)

    for table in cut(rows_in_order(handle, [named.piece], rows, columns, ["id"], matching), size):
        places = pc.index_in(table["id"], names)
        with_others = {name: given[name].take(places) for name in others}
        yield pa.table(dict(zip(table.column_names, table.columns, strict=True)) | with_others)


def moments(times: Sequence[datetime]) -> pa.Array:
    """Times as the lake has them."""
    return pa.array([microseconds(time) for time in times], pa.int64()).cast(TIME)
