"""Rows of many files in the order of the log, with few of them in memory.

Files follow each other, and overlap where several pods made predictions. They are opened when their time comes, and
read by groups of rows; a row is given when no group that is still unread can have an earlier one.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from beacon_core.data.prediction_log.lake.columns import TIME
from beacon_core.data.prediction_log.lake.files import ORDER, OpenFile
from beacon_core.data.prediction_log.lake.plan import Piece

NEWEST_FIRST = [(name, "descending") for name, _ in ORDER]


class _Unit(NamedTuple):
    """What is read next where its `edge` is: a file that is not open yet, or a group of one."""

    piece: Piece
    file: OpenFile | None
    group: int


def in_order(
    pieces: Iterable[Piece],
    open_file: Callable[[Piece], OpenFile],
    read: Callable[[OpenFile, int], pa.Table],
    *,
    newest_first: bool = False,
) -> Iterator[pa.Table]:
    """Yield the rows of the files in the order of the log, or in the opposite one; `read` gives those of a group."""
    sign = -1 if newest_first else 1
    ties = count()
    heap: list[tuple[int, int, _Unit]] = []
    for piece in pieces:
        edge = piece.last if newest_first else piece.first
        heap.append((sign * edge, next(ties), _Unit(piece, None, 0)))
    heapq.heapify(heap)
    unread: dict[OpenFile, int] = {}
    waiting: list[pa.Table] = []
    try:
        while heap:
            _, _, unit = heapq.heappop(heap)
            if unit.file is None:
                file = open_file(unit.piece)
                groups = file.groups()
                unread[file] = len(groups)
                for group in groups:
                    edge = group.last if newest_first else group.first
                    heapq.heappush(heap, (sign * edge, next(ties), _Unit(unit.piece, file, group.number)))
                continue
            waiting.append(read(unit.file, unit.group))
            unread[unit.file] -= 1
            if not unread[unit.file]:
                del unread[unit.file]
                unit.file.close()
            ready, waiting = _split(waiting, sign * heap[0][0] if heap else None, newest_first=newest_first)
            if len(ready):
                yield ready
    finally:
        for file in unread:
            file.close()


def _split(waiting: list[pa.Table], edge: int | None, *, newest_first: bool) -> tuple[pa.Table, list[pa.Table]]:
    """Divide what was read into rows before the next unread one, in order, and the others."""
    whole = pa.concat_tables(waiting).sort_by(NEWEST_FIRST if newest_first else ORDER)
    if edge is None:
        return whole, []
    moment = pa.scalar(edge, pa.int64()).cast(TIME)
    compare = pc.greater if newest_first else pc.less
    before = pc.sum(compare(whole["time"], moment)).as_py() or 0
    return whole.slice(0, before), [whole.slice(before)]
