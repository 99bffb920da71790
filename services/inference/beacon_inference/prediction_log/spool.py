"""The spool: acknowledged predictions on disk, in append-only segments, until they are in the database.

A record is acknowledged once its line was handed to the kernel: one write, no fsync, so that it survives the death of
the process (not of the machine). A line that a crash truncated was never acknowledged, and is skipped.
"""

import os
import threading
from pathlib import Path
from typing import NamedTuple

SEGMENT_BYTES = 4 << 20


class Position(NamedTuple):
    """Where lines were written: segment number, and offset in bytes."""

    segment: int
    offset: int


class Spool:
    """Segments `00000001.jsonl`, `00000002.jsonl`, ... in one folder. One process writes; threads may read."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._sizes = {int(path.stem): path.stat().st_size for path in folder.glob("*.jsonl")}
        self._bytes = sum(self._sizes.values())
        self._file = -1
        self._spoilt = False  # whether the segment ends in half a line, so that no line may follow
        # Never append to a segment of an earlier process: its last line may be truncated.
        self._open(max(self._sizes, default=0) + 1)

    def append(self, lines: bytes) -> Position | None:
        """Write whole lines; None when the spool is full or the write fails, and then nothing was written."""
        if self._bytes + len(lines) > self._max_bytes:
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
        with self._lock:
            self._sizes[self._number] = self._size
            self._bytes += written
        return position

    def size(self) -> int:
        """The size of all segments."""
        return self._bytes

    def segments(self) -> list[int]:
        """Numbers of the segments on disk, oldest first."""
        with self._lock:
            return sorted(self._sizes)

    def is_sealed(self, segment: int) -> bool:
        """Whether nothing more will be written to the segment."""
        return segment < self._number

    def read(self, segment: int, offset: int, limit: int) -> bytes:
        """Read the whole lines that begin in the `limit` bytes from `offset` on; none when the segment was dropped."""
        try:
            with self._path(segment).open("rb") as file:
                file.seek(offset)
                chunk = file.read(limit)
                if chunk and not chunk.endswith(b"\n"):
                    chunk += file.readline()
        except FileNotFoundError:
            return b""
        return chunk[: chunk.rfind(b"\n") + 1]

    def drop(self, segment: int) -> None:
        """Delete a segment whose records are all committed."""
        self._path(segment).unlink(missing_ok=True)
        with self._lock:
            self._bytes -= self._sizes.pop(segment, 0)

    def close(self) -> None:
        """Close the segment being written; an empty one is removed."""
        os.close(self._file)
        if self._size == 0:
            self.drop(self._number)

    def _open(self, number: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        file = os.open(self._path(number), flags, 0o640)
        if self._file >= 0:
            os.close(self._file)
        self._file = file
        self._number = number
        self._size = 0
        self._spoilt = False
        with self._lock:
            self._sizes[number] = 0

    def _path(self, segment: int) -> Path:
        return self._folder / f"{segment:08d}.jsonl"
