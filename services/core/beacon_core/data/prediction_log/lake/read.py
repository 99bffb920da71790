"""The port's questions to the lake: a handle's snapshot, less what the handle has removed."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from beacon_core.data.prediction_log.lake import rows as port_rows
from beacon_core.data.prediction_log.lake.blocks import microseconds
from beacon_core.data.prediction_log.lake.columns import TEXT
from beacon_core.data.prediction_log.lake.files import ORDER, OpenFile, cut
from beacon_core.data.prediction_log.lake.handle import LakeHandle
from beacon_core.data.prediction_log.lake.lookup import keyed_ids, located, own_ids
from beacon_core.data.prediction_log.lake.merge import in_order
from beacon_core.data.prediction_log.lake.plan import EVER, Piece, pieces
from beacon_core.data.prediction_log.lake.removal import NEEDED
from beacon_core.data.prediction_log.port import BATCH, LoggedPrediction, LogSlice

Matching = Callable[[pa.Table], pa.ChunkedArray | pa.Array | None]
MICROSECOND = timedelta(microseconds=1)


def find(handle: LakeHandle, ids: Sequence[str], /) -> list[LoggedPrediction]:
    """Find those of the predictions that are there."""
    return port_rows.predictions(found_rows(handle, ids, LoggedPrediction._fields))


def of_entity(handle: LakeHandle, entity: str, /, *, since: datetime | None = None) -> Iterator[list[LoggedPrediction]]:
    """Yield the predictions of an entity, in batches."""
    found = entity_rows(handle, entity, LoggedPrediction._fields, since)
    for batch in cut(found, BATCH):
        yield port_rows.predictions(batch)


def scan(
    handle: LakeHandle,
    rows: LogSlice,
    columns: Sequence[str],
    /,
    *,
    newest_first: bool = False,
    limit: int | None = None,
    size: int = BATCH,
) -> Iterator[list[Any]]:
    """Yield those columns of the rows, in batches of tuples; a `limit` bounds all of them together."""
    for batch in scan_tables(handle, rows, columns, newest_first=newest_first, limit=limit, size=size):
        yield port_rows.tuples(batch, columns)


def scan_tables(
    handle: LakeHandle,
    rows: LogSlice,
    columns: Sequence[str],
    *,
    newest_first: bool = False,
    limit: int | None = None,
    size: int = BATCH,
) -> Iterator[pa.Table]:
    """Yield the same as Arrow tables, with the lake's columns: features have one each, named by kind and feature."""
    found = rows_in_order(handle, pieces_of(handle, rows), rows, columns, newest_first=newest_first)
    yield from cut(found if limit is None else _limited(found, limit), size)


def scan_matching(
    handle: LakeHandle,
    rows: LogSlice,
    columns: Sequence[str],
    needed: Sequence[str],
    matching: Matching,
    *,
    size: int = BATCH,
) -> Iterator[pa.Table]:
    """Yield the same of those rows alone that match, too; `needed` are the columns that `matching` reads."""
    yield from cut(rows_in_order(handle, pieces_of(handle, rows), rows, columns, needed, matching), size)


def rows_in_order(
    handle: LakeHandle,
    some: Sequence[Piece],
    rows: LogSlice,
    columns: Sequence[str],
    needed: Sequence[str] = (),
    matching: Matching = lambda _: None,
    *,
    newest_first: bool = False,
) -> Iterator[pa.Table]:
    """Yield the rows of a slice that match, and are in these files, group by group."""

    def both(table: pa.Table) -> pa.ChunkedArray | pa.Array | None:
        own, other = port_rows.matching(table, rows), matching(table)
        return pc.and_(own, other) if own is not None and other is not None else own if other is None else other

    wanted = port_rows.stored(handle.table.schema(), columns)
    every = [*port_rows.needed_by(rows), *needed]
    return _in_order(handle, some, wanted, every, both, newest_first=newest_first)


def pieces_of(handle: LakeHandle, rows: LogSlice) -> list[Piece]:
    """The files that may have rows of a slice."""
    first = EVER[0] if rows.since is None else microseconds(rows.since)
    last = EVER[1] if rows.until is None else microseconds(rows.until - MICROSECOND)
    return pieces(handle.lake, handle.table, first, last)


def count(handle: LakeHandle, rows: LogSlice, /) -> int:
    """Count the rows; files that lie within the slice's times are not read where time is all that it says."""
    first = EVER[0] if rows.since is None else microseconds(rows.since)
    last = EVER[1] if rows.until is None else microseconds(rows.until - MICROSECOND)
    by_time_alone = not port_rows.needed_by(rows)
    total = 0
    for piece in pieces(handle.lake, handle.table, first, last):
        is_inside = piece.first >= first and piece.last <= last
        if by_time_alone and is_inside and not handle.removal.concerns(piece.first, piece.last):
            total += piece.file.record_count
            continue
        needed = port_rows.needed_by(rows)
        for table in _in_order(handle, [piece], ["id"], needed, lambda part: port_rows.matching(part, rows)):
            total += len(table)
    return total


def found_rows(handle: LakeHandle, ids: Sequence[str], columns: Sequence[str]) -> pa.Table:
    """The rows with these ids, in the order of the log."""
    wanted_columns = _with_needed(port_rows.stored(handle.table.schema(), columns))
    parts = list(located(handle.lake, handle.table, own_ids(ids), wanted_columns))
    there = {name for part in parts for name in part["id"].to_pylist()}
    others = [name for name in ids if name not in there]
    if others:
        parts += located(handle.lake, handle.table, keyed_ids(handle.lake, others), wanted_columns)
    if not parts:
        return pa.table({name: [] for name in wanted_columns})
    return handle.removal.keep(pa.concat_tables(parts)).sort_by(ORDER)


def entity_rows(
    handle: LakeHandle, entity: str, columns: Sequence[str], since: datetime | None = None
) -> Iterator[pa.Table]:
    """Yield the rows of an entity, in the order of the log."""
    name, rows = pa.scalar(entity, TEXT), LogSlice(since=since)

    def matching(table: pa.Table) -> pa.ChunkedArray:
        own, in_time = pc.equal(table["entity"], name), port_rows.matching(table, rows)
        return own if in_time is None else pc.and_(own, in_time)

    some = pieces(handle.lake, handle.table, EVER[0] if since is None else microseconds(since))
    return _in_order(handle, some, port_rows.stored(handle.table.schema(), columns), ["entity"], matching)


def _in_order(
    handle: LakeHandle,
    some: Sequence[Piece],
    columns: Sequence[str],
    needed: Sequence[str],
    matching: Matching,
    *,
    newest_first: bool = False,
) -> Iterator[pa.Table]:
    """Yield the rows of files that match, in the order of the log.

    `needed` are the columns that `matching` reads, beside the time.
    """
    # Ids are the widest column: they are read where rows match.
    first_read = list(dict.fromkeys(("time", *needed)))
    everything = _with_needed([*columns, *needed])
    others = [name for name in everything if name not in first_read]

    def read(file: OpenFile, group: int) -> pa.Table:
        rows = file.read([group], first_read)
        condition = matching(rows)
        if condition is not None:
            places = pc.indices_nonzero(condition)
            if not len(places):
                return file.columns(everything).empty_table()
            rows = rows.take(places)
        found = {name: rows[name] for name in first_read}
        if others:
            more = file.read([group], others)
            more = more if condition is None else more.take(places)
            found |= {name: more[name] for name in others}
        return handle.removal.keep(pa.table([found[name] for name in everything], schema=file.columns(everything)))

    def open_file(piece: Piece) -> OpenFile:
        return OpenFile(handle.lake, handle.table, piece.file.file_path)

    return in_order(some, open_file, read, newest_first=newest_first)


def _with_needed(columns: Sequence[str]) -> list[str]:
    """The columns, and those by which rows are ordered and removed, each once."""
    return list(dict.fromkeys((*NEEDED, *columns)))


def _limited(tables: Iterator[pa.Table], limit: int) -> Iterator[pa.Table]:
    left = limit
    for table in tables:
        yield table.slice(0, left)
        left -= min(left, len(table))
        if not left:
            return
