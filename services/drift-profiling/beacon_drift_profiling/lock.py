"""One run at a time: where the store is PostgreSQL an advisory lock of it, for all machines; else a lock on a file.

Either is taken away from a process that ends, however it ends.
"""

import contextlib
import fcntl
import zlib
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Engine, text


class Busy(RuntimeError):  # noqa: N818 - a state of the world, not a mistake
    """Another run is at work."""


@contextlib.contextmanager
def only_one(engine: Engine, folder: Path, name: str) -> Iterator[None]:
    """Hold the lock `name`; raises `Busy`."""
    if engine.dialect.name == "postgresql":
        with _advisory(engine, zlib.crc32(f"beacon/{name}".encode())):
            yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name.replace('/', '-')}.lock"
    with file.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Busy(f"another run is at work ({file} is locked)") from error
        yield


@contextlib.contextmanager
def _advisory(engine: Engine, key: int) -> Iterator[None]:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if not connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": key}).scalar():
            raise Busy("another run is at work (PostgreSQL's advisory lock is taken)")
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": key})
