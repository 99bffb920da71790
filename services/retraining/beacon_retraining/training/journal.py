"""The journal of a search: every finished fit on disk, so that a killed run goes on where it ended.

The search is deterministic: a run with equal inputs asks for the same fits in the same order, and gets from the journal
what is there already. One file for one search; another search's file is begun anew, and half a record at the end, as
kill -9 leaves it, is cut off.
"""

import struct
import zlib
from pathlib import Path
from typing import Self

import msgspec
import numpy as np

from beacon_retraining.data.dataset import Matrix

JOURNAL_FILE = "search.journal"
"""In the workspace; no file of DVC's, which would remove what a killed stage left."""
HEADER = struct.Struct("<II")


class JournalFile(msgspec.Struct, frozen=True):
    """Where a journal is, and the digest of the code that makes the fits in it."""

    file: Path
    code: str


class FitOutcome(msgspec.Struct, frozen=True):
    """One fit of a search: predictions of the held-out rows (rows,), and seconds; `failure` says why it has none."""

    predictions: Matrix
    seconds: float
    failure: str = ""


class _Record(msgspec.Struct, frozen=True, array_like=True):
    key: str
    predictions: bytes
    seconds: float
    failure: str


class Journal:
    """Finished fits by their keys; `search` is the digest of all that they follow from."""

    def __init__(self, file: Path, search: str) -> None:
        self._file = file
        self._known: dict[str, FitOutcome] = {}
        self._open(search)

    def get(self, key: str) -> FitOutcome | None:
        """The outcome of a fit, if it is there."""
        return self._known.get(key)

    def add(self, key: str, outcome: FitOutcome) -> None:
        """Keep an outcome."""
        self._known[key] = outcome
        record = _Record(key, outcome.predictions.astype("<f8").tobytes(), outcome.seconds, outcome.failure)
        self._stream.write(_framed(msgspec.msgpack.encode(record)))
        self._stream.flush()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _open(self, search: str) -> None:
        frames, end = _frames(self._file.read_bytes()) if self._file.is_file() else ([], 0)
        if not frames or frames[0] != search.encode():
            self._file.write_bytes(_framed(search.encode()))
        else:
            for frame in frames[1:]:
                record = msgspec.msgpack.decode(frame, type=_Record)
                self._known[record.key] = FitOutcome(
                    np.frombuffer(record.predictions, "<f8"), record.seconds, record.failure
                )
            with self._file.open("r+b") as stream:
                stream.truncate(end)
        self._stream = self._file.open("ab")


def _framed(content: bytes) -> bytes:
    return HEADER.pack(len(content), zlib.crc32(content)) + content


def _frames(content: bytes) -> tuple[list[bytes], int]:
    """The whole frames from the beginning on, and where the last one ends."""
    frames, at = [], 0
    while at + HEADER.size <= len(content):
        size, checksum = HEADER.unpack_from(content, at)
        frame = content[at + HEADER.size : at + HEADER.size + size]
        if len(frame) < size or zlib.crc32(frame) != checksum:
            break
        frames.append(frame)
        at += HEADER.size + size
    return frames, at
