"""One run of a job at a time: by an advisory lock of PostgreSQL, for all machines; else by a lock on a file.

Either is released when its process ends, however it ends.
"""

import contextlib
import zlib
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Engine, text

from beacon_core.platform.locks import BusyError, exclusive


def lock_key(name: str) -> int:
    """The number of the advisory lock `name`, of which PostgreSQL has one space for a whole database."""
    return zlib.crc32(f"beacon/{name}".encode())


@contextlib.contextmanager
def only_one(engine: Engine, folder: Path, name: str, taken: str = "another run is at work") -> Iterator[None]:
    """Hold the lock `name`; raises `BusyError`, whose message begins with `taken`, while another process holds it.

    Where the store is not PostgreSQL, the lock is a file of `folder`.
    """
    if engine.dialect.name == "postgresql":
        with _advisory(engine, lock_key(name), taken):
            yield
        return
    with exclusive(folder / f"{name.replace('/', '-')}.lock", taken):
        yield


@contextlib.contextmanager
def _advisory(engine: Engine, key: int, taken: str) -> Iterator[None]:
    # Held by a transaction, which stays on one connection behind a pooler, too; a session would not. It reads nothing
    # and writes nothing, so it keeps no row from being vacuumed.
    with engine.connect() as connection:
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        if not connection.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": key}).scalar():
            raise BusyError(f"{taken} (PostgreSQL's advisory lock is taken)")
        yield
