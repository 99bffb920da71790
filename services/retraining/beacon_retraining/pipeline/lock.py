"""One retraining at a time, by a lock that a dead run cannot hold.

Where the store is PostgreSQL it is an advisory lock of a session there, for all machines; else a lock on a file.
"""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Engine, text

from beacon_retraining.errors import TRY_AGAIN, RetrainError

ADVISORY_KEY = int.from_bytes(b"retrain", "big")


class Busy(RetrainError):  # noqa: N818 - a state of the world, not a mistake
    """Another run is at work."""

    status = TRY_AGAIN


@contextlib.contextmanager
def only_one(engine: Engine, file: Path) -> Iterator[None]:
    """Hold the lock of all runs; raises `Busy`."""
    if engine.dialect.name != "postgresql":
        with file_lock(file):
            yield
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if not connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": ADVISORY_KEY}).scalar():
            raise Busy("another retraining is at work (PostgreSQL's advisory lock is taken)")
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": ADVISORY_KEY})


@contextlib.contextmanager
def file_lock(file: Path) -> Iterator[None]:
    """Hold a file's lock, which the system takes away from a process that ends; raises `Busy`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Busy(f"another retraining is at work ({file} is locked)") from error
        yield
