"""Blocks of predictions into the lake, each of them once.

A block of a spool says where in it it lies. The lake keeps, in the same commit as the rows, how far it has each spool:
a block that begins just there is new, and costs no look at what is there. Any other may have come before, in whole or
in part (a shipper that was killed, or does not know how its commit ended): its ids are looked up, and only the rows
that are not there come in. The commit is refused if anybody else committed since that look, and the look is repeated.
"""

import logging
import time
from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from beacon_core.data.prediction_log.lake import keys
from beacon_core.data.prediction_log.lake.blocks import table_of_records, table_of_rows
from beacon_core.data.prediction_log.lake.columns import TEXT, feature_of
from beacon_core.data.prediction_log.lake.commits import commit
from beacon_core.data.prediction_log.lake.files import delete_files, write_days
from beacon_core.data.prediction_log.lake.lake import (
    TRIES,
    CommitConflict,
    Lake,
    LakeUnavailableError,
    mapped_errors,
    wait,
)
from beacon_core.data.prediction_log.lake.lookup import WITHIN, SoughtIds, keyed_ids, located, sought, times_in_ids
from beacon_core.data.predictions import PredictionRow
from beacon_core.platform import clock
from beacon_core.spool.record import Record

log = logging.getLogger(__name__)

MARK = "beacon.spool."


class SpoolBlock(NamedTuple):
    """Where a block lies: the spool's id, which is its own for ever, the segment, and its first and last byte there.

    A block that goes on in later segments, each from its beginning, ends at the byte `end` of the segment `last`.
    """

    spool: str
    segment: int
    begin: int
    end: int
    last: int | None = None


class Appended(NamedTuple):
    """How many rows came in, and how many were there already."""

    rows: int
    repeated: int


def append_records(lake: Lake, records: Sequence[Record], block: SpoolBlock | None = None) -> Appended:
    """Append the predictions of some requests; when it returns, they are in the lake.

    Raises `LakeUnavailableError` where that is not sure: the same block is to be given again.
    """
    return _append(lake, table_of_records(records, clock.now()), block) if records else Appended(0, 0)


def append_rows(lake: Lake, rows: Sequence[PredictionRow], block: SpoolBlock | None = None) -> Appended:
    """The same of rows as the database takes them."""
    return _append(lake, table_of_rows(rows, clock.now()), block) if rows else Appended(0, 0)


def _append(lake: Lake, given: pa.Table, block: SpoolBlock | None) -> Appended:
    rows = first_of_each(given)
    table = lake.evolve([name for name in rows.column_names if feature_of(name)])
    keyed = _needs_key(rows)
    written: list[DataFile] = []
    absent = rows.schema.empty_table()
    for attempt in range(TRIES):
        mark = None if block is None else _mark_of(table, block.spool)
        is_new = block is not None and mark is not None and _follows(block, mark)
        before, absent = absent, absent_rows(lake, table, rows, rows.filter(keyed) if is_new else rows)
        if not absent.equals(before):
            delete_files(table, written)
            written = write_days(table, absent)
        try:
            if written:
                add_keys(lake, rows.filter(keyed))
                commit(table, added=written, properties=_moved(block, mark))
        except CommitConflict:
            wait(attempt)
            table = lake.load()
            continue
        repeated = len(given) - len(absent)
        if repeated:
            log.warning("predictions came again, and are in the lake once", extra={"rows": repeated})
        return Appended(len(absent), repeated)
    delete_files(table, written)
    raise LakeUnavailableError("others commit to the lake all the time: the block is not in it, give it again")


def first_of_each(rows: pa.Table) -> pa.Table:
    """The rows, of those with one id the first."""
    if pc.count_distinct(rows["id"]).as_py() == len(rows):
        return rows
    numbered = rows.append_column("row", pa.array(range(len(rows)), pa.int64()))
    first = numbered.select(["id", "row"]).group_by("id").aggregate([("row", "min")])["row_min"]
    return rows.take(first.combine_chunks().sort())


def _needs_key(rows: pa.Table) -> pa.Array:
    """Which rows have an id that does not tell when they were made."""
    told = times_in_ids(rows["id"])
    apart = pc.abs(pc.subtract(told, rows["time"].combine_chunks().cast(pa.int64())))
    return pc.fill_null(pc.greater(apart, WITHIN), True)


def absent_rows(lake: Lake, table: Table, rows: pa.Table, doubtful: pa.Table | None = None) -> pa.Table:
    """Those of the rows that the table has not; only the `doubtful` ones are looked up, by default all."""
    there = _there(lake, table, rows if doubtful is None else doubtful)
    return rows.filter(pc.invert(pc.is_in(rows["id"], there)))


def _there(lake: Lake, table: Table, rows: pa.Table) -> pa.Array:
    """Those of the rows' ids that the table has."""
    if not len(rows) or table.current_snapshot() is None:
        return pa.array([], TEXT)
    keyed = _needs_key(rows)
    some: list[SoughtIds] = []
    own = rows.filter(pc.invert(keyed))
    if len(own):
        ends = pc.min_max(times_in_ids(own["id"])).as_py()
        some.append(sought(own["id"].combine_chunks(), ends["min"] - WITHIN, ends["max"] + WITHIN))
    some += keyed_ids(lake, rows.filter(keyed)["id"].to_pylist())
    found = [part["id"].combine_chunks() for part in located(lake, table, some, ["id"])]
    return pa.concat_arrays(found) if found else pa.array([], TEXT)


def add_keys(lake: Lake, rows: pa.Table) -> None:
    """Give keys to those of the rows that need one; a key whose row is never committed does no harm."""
    rows = rows.filter(_needs_key(rows))
    if len(rows):
        moments = rows["time"].cast(pa.int64()).to_pylist()
        with mapped_errors():
            keys.add(lake.engine, list(zip(rows["id"].to_pylist(), moments, strict=True)))


def _mark_of(table: Table, spool: str) -> tuple[int, int] | None:
    """How far the lake has a spool: the segment, and the end of its last block there."""
    text = table.properties.get(MARK + spool)
    if text is None:
        return None
    segment, end, *_ = text.split(":")
    return int(segment), int(end)


def _follows(block: SpoolBlock, mark: tuple[int, int]) -> bool:
    """Whether a block begins where the mark ends, or a later segment with it: marks only ever move on."""
    return (block.segment, block.begin) == mark or (block.segment > mark[0] and block.begin == 0)


def _moved(block: SpoolBlock | None, mark: tuple[int, int] | None) -> dict[str, str]:
    if block is None:
        return {}
    segment, end = max(mark or (0, 0), (block.segment if block.last is None else block.last, block.end))
    return {MARK + block.spool: f"{segment}:{end}:{round(time.time())}"}


def old_marks(table: Table, before: float) -> list[str]:
    """The properties with marks that were last moved before a moment: most are of pods that are gone.

    Without its mark a spool's next block is looked up; nothing else follows.
    """
    marks = {name: text.split(":") for name, text in table.properties.items() if name.startswith(MARK)}
    return [name for name, (_, _, *moved) in marks.items() if moved and int(moved[0]) < before]
