"""SQL: the rows of a query, and a table of rows, by SQLAlchemy."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Double,
    Engine,
    MetaData,
    Table,
    Text,
    create_engine,
    insert,
    inspect,
    text,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool
from sqlalchemy.types import TypeEngine

from beacon_core.domain.data_errors import DataError
from beacon_core.domain.source import Source
from beacon_core.sources.cells import CellError, text_column
from beacon_core.sources.dialect import Dialect
from beacon_core.sources.environment import expand, masked
from beacon_core.sources.errors import FetchError, FetchRefusedError
from beacon_core.sources.stream import Stream

BATCH_ROWS = 20_000
KINDS: dict[pa.DataType, TypeEngine[Any]] = {
    pa.int64(): BigInteger(),
    pa.float64(): Double(),
    pa.string(): Text(),
    pa.bool_(): Boolean(),
}
"""What columns that are written may hold."""


@contextmanager
def opened_query(source: Source) -> Iterator[Stream]:
    """Run the query; raises `FetchError`, `FetchRefusedError` or `DataError`, also while the blocks are read."""
    with _mapped(source), _opened(source) as engine, engine.connect() as connection:
        result = connection.execution_options(stream_results=True).execute(text(source.query))
        names = tuple(result.keys())
        given = source.format
        dialect = Dialect(kind="sql", names=names, index=given.index or (), missing=given.missing or ())
        yield Stream(source.name, dialect, _blocks(source.name, names, result.partitions(BATCH_ROWS)))


def has_table(database: Source, name: str) -> bool:
    """Whether a table, with its schema's name before it if so, is there; raises as `opened_query`."""
    with _mapped(database), _opened(database, may_be_new=True) as engine:
        schema, _, table = name.rpartition(".")
        return inspect(engine).has_table(table, schema or None)


def write_table(database: Source, name: str, columns: pa.Schema, parts: Iterable[pa.Table]) -> int:
    """Make a table of the parts, in the place of one of this name, and return its rows; raises as `opened_query`.

    It is one transaction: before its end others see what was there, and a process that is killed changes nothing.
    """
    schema, _, own = name.rpartition(".")
    table = Table(own, MetaData(), *[Column(each.name, KINDS[each.type]) for each in columns], schema=schema or None)
    rows = 0
    with _mapped(database), _opened(database, may_be_new=True) as engine, _begun(engine) as connection:
        table.drop(connection, checkfirst=True)
        table.create(connection)
        for part in parts:
            connection.execute(insert(table), part.to_pylist())
            rows += len(part)
    return rows


@contextmanager
def _begun(engine: Engine) -> Iterator[Connection]:
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            # Python begins no transaction for DDL: a process killed in the middle would leave the table empty.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield connection


@contextmanager
def _opened(source: Source, *, may_be_new: bool = False) -> Iterator[Engine]:
    address = expand(source)
    try:
        engine = create_engine(_absolute(address, source, may_be_new=may_be_new), poolclass=NullPool)
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError) as error:
        rule = masked(str(error), source)
        raise FetchRefusedError(f"{source.name}: its address is none that SQLAlchemy reads: {rule}") from error
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def _mapped(source: Source) -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        rule = masked(str(getattr(error, "orig", None) or error), source)
        kind = FetchError if isinstance(error, OperationalError) and error.connection_invalidated else FetchRefusedError
        kind = FetchError if isinstance(error, OperationalError) and not _is_query(error) else kind
        raise kind(f"{source.name}: {rule}") from error


def _is_query(error: OperationalError) -> bool:
    """Whether the database answered, and refused the statement: SQLite calls a missing table operational."""
    return error.statement is not None


def _absolute(address: str, source: Source, *, may_be_new: bool) -> Any:
    """A SQLite file's path is relative to product.yaml, as other paths are."""
    url = make_url(address)
    if url.get_backend_name() == "sqlite" and url.database and not url.database.startswith((":", "file:")):
        file = source.base / url.database
        if not (may_be_new or file.is_file()):
            raise FetchRefusedError(f"{source.name}: the file of the database is missing")
        url = url.set(database=str(file))
    return url


def _blocks(name: str, names: Sequence[str], partitions: Iterator[Sequence[Any]]) -> Iterator[list[pa.Array]]:
    row = 1
    for rows in partitions:
        columns = []
        for column, values in zip(names, zip(*rows, strict=True), strict=True):
            try:
                columns.append(text_column(values))
            except CellError as error:
                raise DataError(name, column, f"{error}, in row {row + error.place}") from error
        yield columns
        row += len(rows)
