"""Rows of the lake, and the actuals, in a SQLite of one question's own, where the rule of `which_actual` joins them.

The tables have the names and columns of the real ones, so that the one rule, in SQL, holds wherever the log is. The
database has no file that anybody sees: SQLite keeps what is too much for memory in one that it has deleted already.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, ColumnElement, Connection, Index, MetaData, StaticPool, Table, create_engine, select

from beacon_core.data.prediction_log.port import BATCH
from beacon_core.data.tables import actuals, predictions

if TYPE_CHECKING:
    import pyarrow as pa

TIMES = ("time", "logged_at")
INDEXES = {
    "predictions": (("id",), ("entity", "time")),
    "actuals": (("id",), ("prediction_id",), ("entity", "observed_at")),
}


@contextmanager
def open_scratch() -> Iterator[Connection]:
    """Give a connection to an empty database, which is gone at the end of the block."""
    engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(""), poolclass=StaticPool)
    try:
        with engine.connect() as connection:
            for setting in ("journal_mode = OFF", "synchronous = OFF"):
                connection.exec_driver_sql(f"PRAGMA {setting}")
            yield connection
    finally:
        engine.dispose()


def copy_actuals(source: Connection, scratch: Connection, *conditions: ColumnElement[bool]) -> None:
    """Copy the actuals that fulfil the conditions, with their numbers."""
    names = list(actuals.c.keys())
    _create(scratch, actuals, names)
    query = select(*[actuals.c[name] for name in names]).where(*conditions)
    for batch in source.execute(query, execution_options={"yield_per": BATCH}).partitions():
        _insert(scratch, actuals, names, [tuple(map(_stored, row)) for row in batch])
    _index(scratch, actuals, names)


def copy_rows(tables: "Iterable[pa.Table]", scratch: Connection, names: Sequence[str]) -> None:
    """Copy those columns of some rows of the lake, as rows of `predictions`."""
    _create(scratch, predictions, names)
    for rows in tables:
        if len(rows):
            _insert(scratch, predictions, names, _tuples(rows, names))
    _index(scratch, predictions, names)


def _create(scratch: Connection, table: Table, names: Sequence[str]) -> None:
    Table(table.name, MetaData(), *[Column(name, table.c[name].type) for name in names]).create(scratch)


def _index(scratch: Connection, table: Table, names: Sequence[str]) -> None:
    """An index is made faster once the rows are there."""
    own = Table(table.name, MetaData(), *[Column(name, table.c[name].type) for name in names])
    for columns in INDEXES[table.name]:
        Index(f"ix_{table.name}_{'_'.join(columns)}", *[own.c[name] for name in columns]).create(scratch)


def _insert(scratch: Connection, table: Table, names: Sequence[str], rows: list[tuple[Any, ...]]) -> None:
    marks = ", ".join("?" * len(names))
    scratch.exec_driver_sql(f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({marks})", rows)  # noqa: S608 - our names


def _stored(value: Any) -> Any:
    """A value as SQLite has it: times as text, in UTC."""
    return (
        value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
        if isinstance(value, datetime)
        else value
    )


def _tuples(rows: "pa.Table", names: Sequence[str]) -> list[tuple[Any, ...]]:
    import pyarrow as pa  # noqa: PLC0415 - only where there is a lake
    import pyarrow.compute as pc  # noqa: PLC0415

    lists = []
    for name in names:
        column = rows[name]
        if name in TIMES:
            column = pc.strftime(column.cast(pa.timestamp("us")), "%Y-%m-%d %H:%M:%S")
        lists.append(column.to_pylist())
    return list(zip(*lists, strict=True))
