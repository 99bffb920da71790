"""The untyped reading of one source: a stream of its rows, or all of it as a table."""

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pyarrow as pa

from beacon_core.domain.data_errors import FILE, HEADER, DataError, listed
from beacon_core.domain.source import Format, Source
from beacon_core.sources.csv_file import open_csv
from beacon_core.sources.dialect import Dialect, check_header
from beacon_core.sources.json_file import open_json
from beacon_core.sources.marks import TEXT_MARKS
from beacon_core.sources.parquet_file import open_parquet
from beacon_core.sources.places import LocalFile, local_files
from beacon_core.sources.stream import Stream
from beacon_core.sources.text_bytes import find_compression, find_type, read_head


class RawTable(msgspec.Struct, frozen=True):
    """One source's rows before any type: columns of text (CSV, JSON, SQL) or of Parquet's types.

    Columns that number the rows are left out. `dialect.text` says in one line how it is written; its `found` are the
    marks of missing values that were met, where the source names none. In a column of text a missing value is a mark.
    `given` is what the source says of its form.
    """

    name: str
    table: pa.Table
    dialect: Dialect
    given: Format = Format()


def read_raw(source: Source, *, rows: int | None = None) -> RawTable:
    """Read a source, or its first `rows` rows; raises `DataError`, `FetchError` or `FetchRefusedError`."""
    with streams(source) as opened:
        tables: list[pa.Table] = []
        count = 0
        for stream in opened:
            dialect = stream.dialect
            check_header(stream.name, dialect)
            for block in stream.blocks:
                tables.append(pa.table(block, names=list(dialect.names)))
                count += len(tables[-1])
                if rows is not None and count >= rows:
                    break
            else:
                tables.append(pa.table([pa.array([], pa.string())] * len(dialect.names), names=list(dialect.names)))
                continue
            break
    table = _together(source.name, [each for each in tables if len(each)] or tables[:1])
    table = table.select([name for name in table.column_names if name not in dialect.index])
    found = _marks(table) if dialect.missing is None else ()
    kept = table if rows is None else table.slice(0, rows)
    return RawTable(source.name, kept, msgspec.structs.replace(dialect, found=found), source.format)


@contextmanager
def streams(source: Source) -> Iterator[Iterator[Stream]]:
    """The source's tables, one after the other; raises `DataError`, `FetchError` or `FetchRefusedError`."""
    if source.kind == "sql":
        from beacon_core.sources.sql import opened_query  # noqa: PLC0415 - SQLAlchemy takes a while

        with opened_query(source) as stream:
            yield iter([stream])
        return
    with local_files(source) as files:
        yield _opened(files, source.format)


def _opened(files: list[LocalFile], given: Format) -> Iterator[Stream]:
    for file in files:
        with open_file(file, given) as stream:
            yield stream


@contextmanager
def open_file(file: LocalFile, given: Format) -> Iterator[Stream]:
    """Open a file by its format; raises `DataError`."""
    compression = find_compression(file.path, file.name, given.compression)
    kind = find_type(read_head(file.path, file.name, compression), file.name, given)
    if kind == "parquet":
        if compression != "none":
            raise DataError(file.name, FILE, f"is Parquet within {compression}, which is not read: unpack it")
        yield open_parquet(file.path, file.name, given)
    elif kind == "jsonlines":
        yield open_json(file.path, file.name, given, compression)
    else:
        with open_csv(file.path, file.name, given, compression) as stream:
            yield stream


def _together(name: str, tables: list[pa.Table]) -> pa.Table:
    first = tables[0].column_names
    for table in tables:
        own = table.column_names
        faults = [
            listed([column for column in first if column not in own], "is missing", "are missing"),
            listed([column for column in own if column not in first], "is new", "are new"),
        ]
        if any(faults):
            raise DataError(name, HEADER, f"one of its files has other columns: {'; '.join(filter(None, faults))}")
    try:
        return pa.concat_tables([table.select(first) for table in tables], promote_options="permissive")
    except pa.ArrowInvalid as error:
        raise DataError(name, HEADER, f"its files have columns of other types: {error}") from error


def _marks(table: pa.Table) -> tuple[str, ...]:
    """The usual marks that the text columns hold."""
    import pyarrow.compute as pc  # noqa: PLC0415

    marks = pa.array(TEXT_MARKS)
    found: set[str] = set()
    for column in table.columns:
        if pa.types.is_string(column.type):
            cells = pc.utf8_trim_whitespace(column)
            found |= set(pc.unique(cells.filter(pc.is_in(cells, value_set=marks))).to_pylist())
    return tuple(mark for mark in TEXT_MARKS if mark in found)
