"""Some rows of the lake as a table of the database, for one question: then the rule of `which_actual` joins them.

The table is temporary, of one connection, and has the name of the table of predictions, which it hides. So the one
rule, in SQL, holds wherever the log is; and no row of it is in memory.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, Connection, Index, MetaData, Table

from beacon_core.data.tables import predictions

if TYPE_CHECKING:
    import pyarrow as pa

TIMES = ("time", "logged_at")
TEMPORARY = {"sqlite": "temp", "postgresql": "pg_temp"}
"""The schema of temporary tables: what is written to it never reaches the table of predictions."""


@contextmanager
def staged(connection: Connection, tables: "Iterable[pa.Table]", columns: Sequence[str]) -> Iterator[None]:
    """Let `predictions` be these rows, with those columns alone, for the questions of the block.

    Results have to be read, or closed, within the block.
    """
    table = Table(
        predictions.name,
        MetaData(),
        *[Column(name, predictions.c[name].type) for name in columns],
        prefixes=["TEMPORARY"],
        postgresql_on_commit="DROP",
    )
    table.create(connection)
    try:
        for rows in tables:
            if len(rows):
                _insert(connection, table, _values(rows, columns, connection.dialect.name))
        for kept in (["id"], ["entity", "time"]):
            if set(kept) <= set(columns):
                Index(f"staged_{'_'.join(kept)}", *[table.c[name] for name in kept]).create(connection)
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"ANALYZE {_place(connection)}")
        yield
    except BaseException:
        # PostgreSQL takes no more statements, and drops the table itself when the transaction ends.
        if connection.dialect.name == "sqlite":
            _drop(connection)
        raise
    _drop(connection)


def _drop(connection: Connection) -> None:
    connection.exec_driver_sql(f"DROP TABLE {_place(connection)}")


def _place(connection: Connection) -> str:
    return f"{TEMPORARY[connection.dialect.name]}.{predictions.name}"


def _insert(connection: Connection, table: Table, rows: list[tuple[Any, ...]]) -> None:
    names = ", ".join(table.c.keys())
    if connection.dialect.name == "postgresql":
        raw = connection.connection.driver_connection
        assert raw is not None  # noqa: S101 - it is in use
        with raw.cursor() as cursor, cursor.copy(f"COPY {_place(connection)} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        return
    marks = ", ".join("?" * len(table.c))
    connection.exec_driver_sql(f"INSERT INTO {_place(connection)} ({names}) VALUES ({marks})", rows)  # noqa: S608 - our names


def _values(rows: "pa.Table", columns: Sequence[str], dialect: str) -> list[tuple[Any, ...]]:
    """The rows as the database takes them: times as text, in UTC."""
    import pyarrow as pa  # noqa: PLC0415 - only where there is a lake
    import pyarrow.compute as pc  # noqa: PLC0415

    lists = []
    for name in columns:
        column = rows[name]
        if name in TIMES:
            column = pc.strftime(column.cast(pa.timestamp("us")), "%Y-%m-%d %H:%M:%S")
        lists.append(column.to_pylist())
        if name in TIMES and dialect == "postgresql":
            lists[-1] = [f"{moment}+00" for moment in lists[-1]]
    return list(zip(*lists, strict=True))
