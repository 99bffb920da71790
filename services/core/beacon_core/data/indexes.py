"""Builds the indexes that the tables have in `tables.py` and not yet in the database.

So a migration adds no index to a table that has rows: after it, PostgreSQL builds each one while others read and write.
"""

import logging

from sqlalchemy import Connection, Engine, Index, inspect, text
from sqlalchemy.schema import CreateIndex

from beacon_core.data.roles import end_snapshot
from beacon_core.data.tables import metadata

log = logging.getLogger(__name__)

VALID = text(
    "SELECT c.relname FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid "
    "JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE i.indisvalid AND n.nspname = current_schema()"
)
"""A build that was broken off leaves an index that is not valid: it costs, and nobody reads by it."""


def build_beside_traffic(engine: Engine, guard: Connection) -> None:
    """Build what is missing in PostgreSQL, without a limit; `guard` holds the lock of migrations meanwhile."""
    valid = set(guard.execute(VALID).scalars())
    missing = [index for index in _of_tables(guard) if index.name not in valid]
    end_snapshot(guard)  # or the build would wait for it
    for index in missing:
        _build(engine, index)


def build_at_once(connection: Connection) -> None:
    """Build what is missing in SQLite, in the transaction of the migration."""
    inspector = inspect(connection)
    there = {found["name"] for name in inspector.get_table_names() for found in inspector.get_indexes(name)}
    for index in _of_tables(connection):
        if index.name not in there:
            index.create(connection)


def _of_tables(connection: Connection) -> list[Index]:
    """The indexes of the tables that the database has; an older schema has not all of them."""
    there = set(inspect(connection).get_table_names())
    found = [index for table in metadata.sorted_tables if table.name in there for index in table.indexes]
    return sorted(found, key=lambda index: str(index.name))


def _build(engine: Engine, index: Index) -> None:
    """Build one index; a part of it that an earlier run left goes first."""
    name = engine.dialect.identifier_preparer.format_index(index)
    statement = str(CreateIndex(index).compile(dialect=engine.dialect))
    log.info("builds the index %s; others may read and write", index.name)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("SET statement_timeout = 0")
        try:
            connection.exec_driver_sql(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            connection.exec_driver_sql(statement.replace("INDEX ", "INDEX CONCURRENTLY ", 1))
        finally:
            connection.exec_driver_sql("RESET statement_timeout")
