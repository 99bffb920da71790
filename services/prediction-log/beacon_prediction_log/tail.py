"""The tail of the spool: what inference has appended and a store does not have yet, found by id.

Inference writes the segments, in a process of its own. Whoever asks for a prediction has its line on disk by then: so
what was appended meanwhile is read before each search.
"""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from beacon_core.spool import segments
from beacon_core.spool.record import Record, decode_record, decode_records
from beacon_core.spool.segments import Position, lines_of
from beacon_prediction_log.index import LineIds, SpoolIndex

READ_BYTES = 1 << 20
_ids = msgspec.json.Decoder(LineIds)


class Part(NamedTuple):
    """Whole lines of a segment: [begin, end) of its bytes."""

    segment: int
    begin: int
    end: int


class Chunk:
    """Whole lines that are to be shipped, one after another: the records, and the lines that are none."""

    def __init__(self, parts: Sequence[Part], content: bytes) -> None:
        self.parts = tuple(parts)
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
        self.predictions = sum(map(len, self.records))
        named = [line for line in map(_ids_of, self.unreadable) if line is not None]
        self.rows = self.predictions + sum(len(line.ids) for line in named)


class _Sent:
    """How far one store has the spool: bytes by segment, the segments that it has whole, and what it has not yet."""

    def __init__(self) -> None:
        self.bytes: dict[int, int] = {}
        self.whole: set[int] = set()
        self.waiting = 0


class SpoolTail:
    """What waits in a spool's folder, for each of some stores. One thread ships to a store; any may find.

    What the store that is `read` has is not looked for in the spool any more; by default that is the first. Where
    nothing here ships to it, all that is still in the spool is looked for: it may not be there yet.
    """

    def __init__(self, folder: Path, stores: Sequence[str] = ("sql",), *, read: str | None = None) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._index = SpoolIndex()
        self._read: dict[int, int] = {}  # segment -> number of its bytes that were read into the index
        self._stores = {name: _Sent() for name in stores}
        self.first = stores[0]
        self._read_store = self._stores.get(read or self.first)
        self._newest_found: tuple[Position, Record] | None = None
        self._appended = 0

    @property
    def appended(self) -> int:
        """How many predictions were found in the spool so far."""
        return self._appended

    def size(self) -> int:
        """The bytes of all segments."""
        return sum(segments.segments(self._folder).values())

    def count_waiting(self, store: str | None = None) -> int:
        """How many predictions a store has not yet; without a name, the one that has the fewest."""
        with self._lock:
            self._catch_up()
            some = self._stores.values() if store is None else [self._stores[store]]
            return max(0, *[sent.waiting for sent in some])

    def bytes_waiting(self, store: str) -> int:
        """How many bytes of the spool a store has not yet."""
        sent = self._stores[store]
        return sum(size - sent.bytes.get(segment, 0) for segment, size in segments.segments(self._folder).items())

    def next_chunk(self, limit: int, store: str = "sql") -> Chunk | None:
        """The oldest lines that a store has not yet, about so many bytes; drops segments that every store has."""
        sent = self._stores[store]
        found = list(segments.segments(self._folder))
        parts: list[Part] = []
        contents: list[bytes] = []
        for segment in found:
            if segment in sent.whole:
                self._drop_if_whole(segment)  # the other store may be gone as far by now
                continue
            begin = sent.bytes.get(segment, 0)
            content = segments.read(self._folder, segment, begin, limit)
            if content:
                parts.append(Part(segment, begin, begin + len(content)))
                contents.append(content)
                limit -= len(content)
                if limit <= 0:
                    break
            elif not parts and segment != found[-1]:  # nobody writes to it any more
                sent.whole.add(segment)
                self._drop_if_whole(segment)
        if parts:
            return Chunk(parts, b"".join(contents))
        with self._lock:
            if all(offset == sent.bytes.get(segment, 0) for segment, offset in self._read.items()):
                # what was erased before it was shipped has been counted
                sent.waiting = 0
        return None

    def shipped(self, chunk: Chunk, store: str = "sql") -> None:
        """Note that a store has the chunk."""
        sent = self._stores[store]
        with self._lock:
            for part in chunk.parts:
                while self._read.get(part.segment, 0) < part.end and self._read_on(part.segment):
                    pass  # so that its predictions were counted
                sent.bytes[part.segment] = part.end
            sent.waiting -= chunk.rows

    def drop_last(self) -> None:
        """Drop the segment that nobody writes to any more, where every store has all of it."""
        for segment in segments.segments(self._folder):
            offsets = [sent.bytes.get(segment, 0) for sent in self._stores.values()]
            if not segments.read(self._folder, segment, min(offsets), 1):
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
                for sent in self._stores.values():
                    sent.waiting += len(ids.ids)
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
        return self._read_store is None or position.offset >= self._read_store.bytes.get(position.segment, 0)

    def _drop_if_whole(self, segment: int) -> None:
        if all(segment in sent.whole for sent in self._stores.values()):
            self._drop(segment)

    def _drop(self, segment: int) -> None:
        with self._lock:
            segments.path_of(self._folder, segment).unlink(missing_ok=True)
            for sent in self._stores.values():
                sent.bytes.pop(segment, None)
                sent.whole.discard(segment)
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
