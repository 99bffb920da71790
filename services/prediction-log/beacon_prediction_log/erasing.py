"""Erasure of an entity, or of predictions, from the spool, while inference may append to it.

A segment keeps its lines after they are in the database, until it is full: a restart ships them again. So a line
is changed in its place, and nothing moves: what the shipper knows of offsets stays true. A row goes out of its record;
what is left is filled up with blanks, which JSON allows. A line of which no row is left becomes blanks, together with
the line break before it, so that it is a part of another line.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from beacon_core.data.database import Engine
from beacon_core.data.erasure import ErasedPlace, Subject
from beacon_core.domain.product import Product
from beacon_core.platform.files import write_atomically
from beacon_core.platform.settings import Settings
from beacon_core.spool.record import Record, decode_record, encode_record
from beacon_core.spool.segments import QUARANTINE


class LineChange(NamedTuple):
    """Bytes to write in a segment, and how many predictions go by it."""

    offset: int
    content: bytes
    rows: int


def erase(settings: Settings, _product: Product, _engine: Engine, subject: Subject, *, dry_run: bool) -> ErasedPlace:
    """Erase the subject from this machine's spool; a pod's own rows go once they are logged (`erase_late_rows`)."""
    rows = 0
    for segment in sorted(settings.spool_dir.glob("*.jsonl")):
        changes = list(_changes(segment.read_bytes(), subject))
        rows += sum(change.rows for change in changes)
        if changes and not dry_run:
            _write(segment, changes)
    quarantined = _erase_quarantine(settings.spool_dir / QUARANTINE, subject, dry_run)
    return ErasedPlace({"spool": rows, "quarantine": quarantined})


def _changes(content: bytes, subject: Subject) -> Iterator[LineChange]:
    """The changes of a segment; lines next to each other of which no row is left go by one change."""
    marks = _marks(subject)
    offset = begin = rows = 0
    for line in content.split(b"\n")[:-1]:
        record = _read(line) if any(mark in line for mark in marks) else None
        gone = [] if record is None else [row for row in range(len(record)) if _is_of(record, row, subject)]
        rest = None if record is None or not gone else _without(record, gone, len(line))
        if gone and rest is None:
            begin = begin if rows else offset
            rows += len(gone)
        else:
            if rows:
                yield _blanks(begin, offset, rows)
            if rest is not None:
                yield LineChange(offset, rest, len(gone))
            rows = 0
        offset += len(line) + 1
    if rows:
        yield _blanks(begin, offset, rows)


def _without(record: Record, gone: list[int], size: int) -> bytes | None:
    """The line without some rows, in the same number of bytes; None where no row is left."""
    left = [row for row in range(len(record)) if row not in gone]
    if not left:
        return None
    rest = encode_record(record.take(left))
    if len(rest) > size:  # a line that another program wrote more briefly: its other rows must not go with it
        raise ValueError(f"a record of {size} bytes would take {len(rest)} without the erased rows")
    return rest.ljust(size)


def _blanks(begin: int, end: int, rows: int) -> LineChange:
    """Blanks in place of the lines in [begin, end): with the line break before them or, of the first, that after."""
    if begin:
        return LineChange(begin - 1, b" " * (end - begin), rows)
    return LineChange(0, b" " * end, rows)


def _read(line: bytes) -> Record | None:
    try:
        return decode_record(line)
    except (ValueError, RecursionError):
        return None


def _is_of(record: Record, row: int, subject: Subject) -> bool:
    if subject.entity is None:
        return record.ids[row] in subject.ids
    return record.entities is not None and record.entities[row] == subject.entity


def _marks(subject: Subject) -> list[bytes]:
    """What a line with a row of the subject contains, as JSON."""
    names = subject.ids if subject.entity is None else (subject.entity,)
    return [msgspec.json.encode(name) for name in names]


def _write(segment: Path, changes: list[LineChange]) -> None:
    try:
        file = os.open(segment, os.O_WRONLY)
    except FileNotFoundError:  # all of it is in the database by now
        return
    try:
        for change in changes:
            os.pwrite(file, change.content, change.offset)
        os.fsync(file)
    finally:
        os.close(file)


def _erase_quarantine(file: Path, subject: Subject, dry_run: bool) -> int:
    """Remove the lines that are no records, and name the subject."""
    if not file.is_file():
        return 0
    lines = file.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if not any(mark in line for mark in _marks(subject))]
    if len(kept) < len(lines) and not dry_run:
        write_atomically(file, b"".join(kept))
    return len(lines) - len(kept)
