"""SQL: the rows of a query, by SQLAlchemy."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from beacon_core.domain.data_errors import DataError
from beacon_core.domain.source import Source
from beacon_core.sources.cells import CellError, text_column
from beacon_core.sources.dialect import Dialect
from beacon_core.sources.environment import expand, masked
from beacon_core.sources.errors import FetchError, FetchRefusedError
from beacon_core.sources.stream import Stream

BATCH_ROWS = 20_000


@contextmanager
def opened_query(source: Source) -> Iterator[Stream]:
    """Run the query; raises `FetchError`, `FetchRefusedError` or `DataError`, also while the blocks are read."""
    address = expand(source)
    try:
        engine = create_engine(_absolute(address, source), poolclass=NullPool)
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError) as error:
        rule = masked(str(error), source)
        raise FetchRefusedError(f"{source.name}: its address is none that SQLAlchemy reads: {rule}") from error
    try:
        with engine.connect() as connection:
            result = connection.execution_options(stream_results=True).execute(text(source.query))
            names = tuple(result.keys())
            given = source.format
            dialect = Dialect(kind="sql", names=names, index=given.index or (), missing=given.missing or ())
            yield Stream(source.name, dialect, _blocks(source.name, names, result.partitions(BATCH_ROWS)))
    except SQLAlchemyError as error:
        rule = masked(str(getattr(error, "orig", None) or error), source)
        kind = FetchError if isinstance(error, OperationalError) and error.connection_invalidated else FetchRefusedError
        kind = FetchError if isinstance(error, OperationalError) and not _is_query(error) else kind
        raise kind(f"{source.name}: {rule}") from error
    finally:
        engine.dispose()


def _is_query(error: OperationalError) -> bool:
    """Whether the database answered, and refused the statement: SQLite calls a missing table operational."""
    return error.statement is not None


def _absolute(address: str, source: Source) -> Any:
    """A SQLite file's path is relative to product.yaml, as other paths are."""
    url = make_url(address)
    if url.get_backend_name() == "sqlite" and url.database and not url.database.startswith((":", "file:")):
        file = source.base / url.database
        if not file.is_file():
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
