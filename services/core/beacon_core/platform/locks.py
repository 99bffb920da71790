"""Locks on files, which the operating system releases when their process ends, however it ends."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from beacon_core.domain.exit_statuses import TRY_AGAIN


class BusyError(RuntimeError):
    """Another process holds the lock; the message and `holder` name it, as far as it is known."""

    exit_status = TRY_AGAIN

    def __init__(self, message: str, holder: str = "") -> None:
        super().__init__(message)
        self.holder = holder


@contextlib.contextmanager
def exclusive(file: Path, taken: str, holder: str = "") -> Iterator[None]:
    """Hold the lock of `file` for the block; raises `BusyError`, which begins with `taken`, where another holds it.

    `holder` is written into the file meanwhile, so that the error of a second process names it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            stream.seek(0)
            other = stream.read().strip()
            raise BusyError(f"{taken}: {other}" if other else f"{taken} ({file} is locked)", other) from error
        stream.truncate(0)
        stream.write(holder)
        stream.flush()
        try:
            yield
        finally:
            stream.truncate(0)


@contextlib.contextmanager
def wait_for(file: Path, *, shared: bool = False) -> Iterator[None]:
    """Wait for the lock of `file` and hold it for the block; `shared` holders do not exclude each other."""
    with file.open("a+", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
