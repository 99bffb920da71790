"""Stores for tests: Beacon's tables in a new SQLite file, or in a PostgreSQL of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine
from support.postgres import postgres

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
    with postgres() as cluster:
        engine = open_store(cluster.url)
        yield engine
        engine.dispose()
