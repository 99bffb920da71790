"""Predictions by their ids: files and groups are chosen by time, which Beacon's own ids carry; others have a key."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.table import Table

from beacon_core.data.prediction_log.lake import keys
from beacon_core.data.prediction_log.lake.blocks import MICROSECONDS, microseconds
from beacon_core.data.prediction_log.lake.columns import TEXT
from beacon_core.data.prediction_log.lake.files import OpenFile
from beacon_core.data.prediction_log.lake.lake import Lake, mapped_errors
from beacon_core.data.prediction_log.lake.plan import pieces
from beacon_core.domain.ids import OWN_ID, TIME_DIGITS, milliseconds_of, time_of

WITHIN = 10 * MICROSECONDS
"""An id whose time is further from its prediction's tells nothing: the prediction has a key."""


class SoughtIds(NamedTuple):
    """Ids to look for, the smallest and the largest of them, and the times between which their predictions are."""

    ids: pa.Array
    smallest: str
    largest: str
    first: int
    last: int


def sought(ids: Sequence[str] | pa.Array, first: int, last: int) -> SoughtIds:
    """Make a `SoughtIds` of ids: at least one."""
    array = ids if isinstance(ids, pa.Array) else pa.array(ids, TEXT)
    ends = pc.min_max(array).as_py()
    return SoughtIds(array, ends["min"], ends["max"], first, last)


def own_ids(ids: Sequence[str]) -> list[SoughtIds]:
    """Those of the ids that carry a time, each with the times around it."""
    moments = [(name, time_of(name)) for name in dict.fromkeys(ids)]
    told = [(name, microseconds(moment)) for name, moment in moments if moment is not None]
    return [sought([name], moment - WITHIN, moment + WITHIN) for name, moment in told]


def keyed_ids(lake: Lake, ids: Sequence[str]) -> list[SoughtIds]:
    """Those of the ids that have keys, each with the times of these."""
    with mapped_errors():
        found = keys.times_of(lake.engine, ids)
    return [sought([name], moment, moment) for name, moment in found]


def located(lake: Lake, table: Table, some: Sequence[SoughtIds], columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yield the rows that have one of the ids, and were made at its time."""
    if not some:
        return
    for piece in pieces(lake, table, min(one.first for one in some), max(one.last for one in some)):
        near = [one for one in some if one.first <= piece.last and one.last >= piece.first]
        if not near:
            continue
        with OpenFile(lake, table, piece.file.file_path) as file:
            for group in file.groups():
                here = [one for one in near if one.first <= group.last and one.last >= group.first]
                here = [one for one in here if one.smallest <= group.largest and one.largest >= group.smallest]
                if not here:
                    continue
                names = file.read([group.number], ["id"])["id"]
                hits = pc.is_in(names, pa.concat_arrays([one.ids for one in here]))
                if pc.any(hits).as_py():
                    yield file.read([group.number], columns).filter(hits)


def times_in_ids(ids: pa.ChunkedArray) -> pa.Array:
    """The times that ids carry, in microseconds; null for ids that carry none."""
    flat = ids.combine_chunks()
    own = pc.match_substring_regex(flat, f"^{OWN_ID.pattern}$")
    heads = pc.if_else(own, pc.utf8_slice_codeunits(flat, 0, TIME_DIGITS), None).dictionary_encode()
    moments = [milliseconds_of(digits) * 1000 for digits in heads.dictionary.to_pylist()]
    return pa.array(moments, pa.int64()).take(heads.indices)
