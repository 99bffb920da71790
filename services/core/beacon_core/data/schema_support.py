"""Which code may use the schema: the oldest revision whose statements work on the tables as they are.

A release that goes back, or whose old pods still run while the new ones start, finds a schema that it does not know.
The schema says itself whether it may be used: one row, which each migration writes. So a migration may add tables,
columns that may be empty, and indexes; what old code reads goes a release later, with `OLDEST_CODE` moved on.
"""

from sqlalchemy import Connection, delete, insert, inspect, select

from beacon_core.data.tables import schema_support

OLDEST_CODE = "0002_removals_and_distributions"
"""The oldest revision whose code works on the newest schema."""


def note(connection: Connection) -> None:
    """Write down which code may use the schema; only after the newest migration."""
    if inspect(connection).has_table(schema_support.name):
        connection.execute(delete(schema_support))
        connection.execute(insert(schema_support).values(oldest_code=OLDEST_CODE))


def oldest_code(connection: Connection) -> str | None:
    """The oldest revision whose code may use the schema; None for a schema that says nothing."""
    if not inspect(connection).has_table(schema_support.name):
        return None
    return connection.scalar(select(schema_support.c.oldest_code))
