"""The tail of the spool: what inference has appended and the database does not have yet, found by id.

Inference writes the segments, in a process of its own. Whoever asks for a prediction has its line on disk by then: so
what was appended meanwhile is read before each search.
"""

import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec

from beacon_core.spool import segments
from beacon_core.spool.record import Record, decode_record, decode_records
from beacon_core.spool.segments import Position, lines_of
from beacon_prediction_log.index import LineIds, SpoolIndex

READ_BYTES = 1 << 20
_ids = msgspec.json.Decoder(LineIds)


class Chunk:
    """Whole lines of a segment that are to be shipped: the records, and the lines that are none."""

    def __init__(self, segment: int, offset: int, content: bytes) -> None:
        self.segment = segment
        self.end = offset + len(content)
        self.rows = sum(len(line.ids) for line in read_ids(content) if line is not None)
        self.records: list[Record] = []
        self.unreadable: list[bytes] = []
        try:
            self.records = decode_records(content)
        except (ValueError, RecursionError):
            for line in lines_of(content):
                record = _decode(line)
                if record is not None:
                    self.records.append(record)
                elif line.strip():  # erasure may leave blanks
                    self.unreadable.append(line)


class SpoolTail:
    """What waits in a spool's folder. One thread ships; any may find."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._index = SpoolIndex()
        # Segment -> number of its bytes that were read into the index, and that are in the database.
        self._read: dict[int, int] = {}
        self._shipped: dict[int, int] = {}
        self._newest_found: tuple[Position, Record] | None = None
        self._waiting = 0
        self._appended = 0

    @property
    def appended(self) -> int:
        """How many predictions were found in the spool so far."""
        return self._appended

    def size(self) -> int:
        """The bytes of all segments."""
        return sum(segments.segments(self._folder).values())

    def count_waiting(self) -> int:
        """How many predictions are not in the database yet."""
        with self._lock:
            self._catch_up()
            return max(0, self._waiting)

    def next_chunk(self, limit: int) -> Chunk | None:
        """The oldest lines that are to be shipped, and about so many bytes; drops segments that are all shipped."""
        found = list(segments.segments(self._folder))
        for segment in found:
            offset = self._shipped.get(segment, 0)
            content = segments.read(self._folder, segment, offset, limit)
            if content:
                return Chunk(segment, offset, content)
            if segment != found[-1]:  # nobody writes to it any more
                self._drop(segment)
        with self._lock:
            if all(offset == self._shipped.get(segment, 0) for segment, offset in self._read.items()):
                # what was erased before it was shipped has been counted
                self._waiting = 0
        return None

    def shipped(self, chunk: Chunk) -> None:
        """Note that the chunk is in the database."""
        with self._lock:
            while self._read.get(chunk.segment, 0) < chunk.end and self._read_on(chunk.segment):
                pass  # so that its predictions were counted
            self._shipped[chunk.segment] = chunk.end
            self._waiting -= chunk.rows

    def drop_last(self) -> None:
        """Drop the segment that nobody writes to any more, where all of it is shipped."""
        for segment in segments.segments(self._folder):
            if not segments.read(self._folder, segment, self._shipped.get(segment, 0), 1):
                self._drop(segment)

    def find(self, ids: Sequence[str]) -> dict[str, Record]:
        """Find those of the predictions that wait in the spool, each as a record of its own."""
        with self._lock:
            self._catch_up()
            found = {}
            for name in ids:
                record = self._find_one(name)
                if record is not None:
                    found[name] = record.take([record.ids.index(name)])
            return found

    def _catch_up(self) -> None:
        for segment, size in segments.segments(self._folder).items():
            while size > self._read.get(segment, 0) and self._read_on(segment):
                pass

    def _read_on(self, segment: int) -> bool:
        offset = self._read.get(segment, 0)
        content = segments.read(self._folder, segment, offset, READ_BYTES)
        for line, ids in zip(lines_of(content), read_ids(content), strict=True):
            if ids is not None:
                self._index.note(ids, Position(segment, offset))
                self._waiting += len(ids.ids)
                self._appended += len(ids.ids)
            offset += len(line) + 1
        self._read[segment] = offset
        return bool(content)

    def _find_one(self, name: str) -> Record | None:
        if self._newest_found is not None:  # a client that reads one row of a record often reads the others
            position, record = self._newest_found
            if self._waits(position) and name in record.ids:
                return record
        wanted = f'"{name}"'.encode()
        for segment, begin, size in self._index.ranges(name):
            ends = begin
            for line in lines_of(segments.read(self._folder, segment, begin, size)):
                position, ends = Position(segment, ends), ends + len(line) + 1
                found = _decode(line) if wanted in line and self._waits(position) else None
                if found is not None and name in found.ids:
                    self._newest_found = position, found
                    return found
        return None

    def _waits(self, position: Position) -> bool:
        return position.offset >= self._shipped.get(position.segment, 0)

    def _drop(self, segment: int) -> None:
        with self._lock:
            segments.path_of(self._folder, segment).unlink(missing_ok=True)
            self._shipped.pop(segment, None)
            self._read.pop(segment, None)
            self._index.forget(segment)
            self._newest_found = None


def read_ids(content: bytes) -> list[LineIds | None]:
    """The ids of each of the lines; None for a line that has none."""
    lines = lines_of(content)
    try:
        found = _ids.decode_lines(content)
    except (ValueError, RecursionError):
        found = []
    # Of a blank line, as erasure may leave it, nothing is decoded.
    return list(found) if len(found) == len(lines) else [_ids_of(line) for line in lines]


def _ids_of(line: bytes) -> LineIds | None:
    try:
        return _ids.decode(line)
    except (ValueError, RecursionError):
        return None


def _decode(line: bytes) -> Record | None:
    try:
        return decode_record(line)
    except (ValueError, RecursionError):
        return None
