"""The keys of predictions whose id does not tell when they were made; they are where the catalog is.

Beacon's own ids begin with their time, and files are chosen by time. An id that a client made tells nothing, and one
that another clock made tells the wrong time. A key is a hint where to look: one without its prediction does no harm.
"""

from collections.abc import Sequence
from typing import TypeVar

from sqlalchemy import BigInteger, Column, Engine, MetaData, String, Table, delete, select
from sqlalchemy.dialects import postgresql, sqlite

metadata = MetaData()
# `time` is that of the prediction, in microseconds since 1970: exact on every database.
lake_keys = Table(
    "lake_keys",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("time", BigInteger, primary_key=True, autoincrement=False, index=True),
)
Item = TypeVar("Item")
STEP = 1000
"""Parameters of one statement."""


def create(engine: Engine) -> None:
    """Make the table, where there is none."""
    metadata.create_all(engine)


def add(engine: Engine, found: Sequence[tuple[str, int]]) -> None:
    """Keep the keys (id, time); those that are there stay."""
    insert = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
    with engine.begin() as connection:
        for step in _steps(found):
            rows = [{"id": name, "time": moment} for name, moment in step]
            connection.execute(insert(lake_keys).on_conflict_do_nothing(), rows)


def times_of(engine: Engine, ids: Sequence[str]) -> list[tuple[str, int]]:
    """The keys (id, time) of these ids; one id may have several."""
    found: list[tuple[str, int]] = []
    with engine.connect() as connection:
        for step in _steps(ids):
            query = select(lake_keys.c.id, lake_keys.c.time).where(lake_keys.c.id.in_(step))
            found += [(name, moment) for name, moment in connection.execute(query)]
    return found


def forget(engine: Engine, ids: Sequence[str]) -> None:
    """Delete the keys of these ids."""
    with engine.begin() as connection:
        for step in _steps(ids):
            connection.execute(delete(lake_keys).where(lake_keys.c.id.in_(step)))


def expire(engine: Engine, before: int) -> None:
    """Delete the keys of what was made before a moment."""
    with engine.begin() as connection:
        connection.execute(delete(lake_keys).where(lake_keys.c.time < before))


def _steps(items: Sequence[Item]) -> list[Sequence[Item]]:
    return [items[begin : begin + STEP] for begin in range(0, len(items), STEP)]
