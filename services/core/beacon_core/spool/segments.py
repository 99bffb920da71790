"""The segments of the spool: acknowledged predictions on disk, in append-only files, until they are in the database.

Inference alone writes them, and the prediction log's process alone deletes them. A record is acknowledged once its line
was handed to the kernel: one write, so that it survives the death of the process. Who has it survive that of the
machine, too, waits for `sync_segments` before the answer. A line that a crash truncated was never acknowledged, and is
skipped.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from beacon_core.platform.files import sync

SEGMENT_BYTES = 4 << 20
ENDING = ".jsonl"
RECOUNT_SECONDS = 0.1
"""How often a writer that has no room looks whether there is room again."""
READ_MORE_BYTES = 64 << 10
WRITER_LOCK = "writer.lock"
SHIPPER_LOCK = "shipper.lock"
QUARANTINE = "quarantine.txt"
"""The file of the lines that are no records."""


class Position(NamedTuple):
    """Where lines were written: segment number, and offset in bytes."""

    segment: int
    offset: int


SYNC = getattr(os, "fdatasync", os.fsync)
"""macOS has only the other one."""


class Unsynced(NamedTuple):
    """What may not be on the disk yet: open files, those of them that nobody appends to any more, and the folder."""

    files: list[int]
    full: list[int]
    folder: Path | None


class SpoolWriter:
    """Appends to segments `00000001.jsonl`, `00000002.jsonl`, ... in one folder, as long as it is open.

    With `is_synced` it keeps full segments open until `take_unsynced` has given them.
    """

    def __init__(self, folder: Path, max_bytes: int, *, is_synced: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._max_bytes = max_bytes
        self._is_synced = is_synced
        self._full: list[int] = []
        self._is_named = False  # whether the folder has the segment's name on the disk
        # Shared: it says that somebody may write. Who ships waits for it before the last segment goes.
        self._lock = os.open(folder / WRITER_LOCK, os.O_RDWR | os.O_CREAT, 0o640)
        fcntl.flock(self._lock, fcntl.LOCK_SH)
        self._bytes, self._counted_at = 0, 0.0
        self._file = -1
        self._spoilt = False  # whether the segment ends in half a line, so that no line may follow
        # Never append to a segment of an earlier process: its last line may be truncated.
        self._open(max(segments(folder), default=0) + 1)

    def append(self, lines: bytes) -> Position | None:
        """Write whole lines; None when the spool is full or the write fails, and then nothing was written."""
        if self._bytes + len(lines) > self._max_bytes and not self._has_room(len(lines)):
            self._leave_segment()
            return None
        try:
            if self._spoilt or self._size >= SEGMENT_BYTES:
                self._open(self._number + 1)
            written = os.write(self._file, lines)
            if written != len(lines):  # the disk is full: take the half line back
                self._spoilt = True
                os.ftruncate(self._file, self._size)
                self._spoilt = False
                return None
        except OSError:
            return None
        position = Position(self._number, self._size)
        self._size += written
        self._bytes += written
        return position

    def take_unsynced(self) -> Unsynced:
        """What has to be synced for all records so far; `sync_segments` does that, in a thread if one likes."""
        folder = None if self._is_named else self._folder
        full, self._full, self._is_named = self._full, [], True
        return Unsynced([*full, self._file], full, folder)

    def begin_segment(self) -> None:
        """Let the next record begin another segment."""
        self._spoilt = True

    def close(self) -> None:
        """Close the segment being written; an empty one is removed."""
        for file in (*self._full, self._file):
            os.close(file)
        if self._size == 0:
            path_of(self._folder, self._number).unlink(missing_ok=True)
        os.close(self._lock)

    def _has_room(self, more: int) -> bool:
        """Whether what was shipped since has left enough room; not looked for at every record."""
        if time.monotonic() < self._counted_at + RECOUNT_SECONDS:
            return False
        self._count()
        return self._bytes + more <= self._max_bytes

    def _leave_segment(self) -> None:
        """Let a full spool have an empty segment: the newest one is never dropped, whatever of it was shipped."""
        if self._size:
            with contextlib.suppress(OSError):
                self._open(self._number + 1)

    def _count(self) -> None:
        self._bytes, self._counted_at = sum(segments(self._folder).values()), time.monotonic()

    def _open(self, number: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        file = os.open(path_of(self._folder, number), flags, 0o640)
        if self._file >= 0 and self._is_synced:
            self._full.append(self._file)
        elif self._file >= 0:
            os.close(self._file)
        self._file = file
        self._number = number
        self._is_named = False
        self._size = 0
        self._spoilt = False
        self._count()


def sync_segments(unsynced: Unsynced) -> None:
    """Wait until it is on the disk; raises OSError, after which nobody knows what of it is there."""
    try:
        for file in unsynced.files:
            SYNC(file)
        if unsynced.folder is not None:
            sync(unsynced.folder)
    finally:
        for file in unsynced.full:
            os.close(file)


def path_of(folder: Path, segment: int) -> Path:
    """The file of a segment."""
    return folder / f"{segment:08d}{ENDING}"


def segments(folder: Path) -> dict[int, int]:
    """The segments on disk, oldest first, and the bytes of each."""
    found = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(ENDING):
                with contextlib.suppress(FileNotFoundError):  # dropped meanwhile
                    found[int(entry.name.removesuffix(ENDING))] = entry.stat().st_size
    return dict(sorted(found.items()))


def read(folder: Path, segment: int, offset: int, limit: int) -> bytes:
    """Read the whole lines that begin in the `limit` bytes from `offset` on; none when the segment was dropped.

    Each try is one read: a writer may take half a line back and write another one in its place.
    """
    try:
        file = os.open(path_of(folder, segment), os.O_RDONLY)
    except FileNotFoundError:
        return b""
    try:
        size = limit
        while True:
            chunk = os.pread(file, size, offset)
            end = chunk.find(b"\n", limit - 1) + 1
            if end or len(chunk) < size:
                return chunk[: end or chunk.rfind(b"\n") + 1]
            size += max(size, READ_MORE_BYTES)
    finally:
        os.close(file)


def lines_of(chunk: bytes) -> list[bytes]:
    """The lines of a chunk of whole lines."""
    return chunk.split(b"\n")[:-1]


@contextlib.contextmanager
def no_writer(folder: Path) -> Iterator[bool]:
    """Whether nobody has the spool open to write; then nobody opens it before the end of the block."""
    file = os.open(folder / WRITER_LOCK, os.O_RDWR | os.O_CREAT, 0o640)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(file)
