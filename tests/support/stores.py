"""Stores for tests: Beacon's tables in a new SQLite file, or in a new PostgreSQL database."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine
from support.postgres import new_database

from beacon_core.data.database import migrate, open_store


@contextmanager
def new_store(kind: str, folder: Path) -> Iterator[Engine]:
    """A migrated store; `kind` is SQLite or PostgreSQL, in any case."""
    if kind.lower() == "sqlite":
        engine = open_store(f"sqlite:///{folder / 'beacon.db'}")
        migrate(engine)
        yield engine
        engine.dispose()
        return
    with new_database() as url:
        engine = open_store(url)
        yield engine
        engine.dispose()
