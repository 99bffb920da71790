"""The index of the spool: where the line of a prediction is, at little cost for the many that are never read.

Beacon's own ids begin with the time, so the lines of a segment are in the order of the ids, and one mark per 32 kB is
enough. Each id of a client has an entry of its own, and so has each id that was made after the clock went back.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from math import inf
from typing import Annotated, NamedTuple

import msgspec

from beacon_core.domain.ids import TIME_DIGITS
from beacon_core.spool.segments import Position

MARK_BYTES = 32 << 10


class Range(NamedTuple):
    """Lines of a segment: those that begin in the `size` bytes from `offset` on."""

    segment: int
    offset: int
    size: int


class LineIds(msgspec.Struct, gc=False):
    """What the index needs of a line: the ids of a record's predictions, and whether a client chose any of them."""

    ids: Annotated[list[str], msgspec.Meta(min_length=1)]
    input_digests: list[str | None] | None = None


class _Segment:
    """The marks are times (as ids have them) and offsets, both ascending; `newest` is the last time in their order."""

    __slots__ = ("marks", "named", "newest")

    def __init__(self) -> None:
        self.marks: list[tuple[str, int]] = []
        self.newest = ""
        self.named: dict[str, int] = {}

    def note(self, line: LineIds, offset: int) -> None:
        time = line.ids[0][:TIME_DIGITS]
        if line.input_digests is not None or time < self.newest:
            self.named.update(dict.fromkeys(line.ids, offset))
            return
        self.newest = time
        if not self.marks or offset >= self.marks[-1][1] + MARK_BYTES:
            self.marks.append((time, offset))

    def ranges(self, prediction_id: str) -> Iterator[tuple[int, int]]:
        offset = self.named.get(prediction_id)
        if offset is not None:
            yield offset, 1
        time, marks = prediction_id[:TIME_DIGITS], self.marks
        if marks and marks[0][0] <= time <= self.newest:
            # Lines of the same millisecond may lie on both sides of a mark.
            first = marks[max(0, bisect_left(marks, (time,)) - 1)][1]
            after = bisect_right(marks, (time, inf))
            end = marks[after][1] if after < len(marks) else marks[-1][1] + MARK_BYTES
            yield first, end - first


class SpoolIndex:
    """Which lines may hold a prediction."""

    def __init__(self) -> None:
        self._segments: dict[int, _Segment] = {}

    def note(self, line: LineIds, position: Position) -> None:
        """Note where a line was written."""
        segment = self._segments.get(position.segment)
        if segment is None:
            segment = self._segments.setdefault(position.segment, _Segment())
        segment.note(line, position.offset)

    def ranges(self, prediction_id: str) -> Iterator[Range]:
        """The ranges of lines that have the prediction, if it is in the spool."""
        for number, segment in self._segments.items():
            for offset, size in segment.ranges(prediction_id):
                yield Range(number, offset, size)

    def forget(self, segment: int) -> None:
        """Forget a segment that was dropped."""
        self._segments.pop(segment, None)
