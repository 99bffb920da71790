"""The lake's Parquet files: written with what their columns compress best by, and read by groups of rows.

Rows of a file are of one day, in the order of their time, then of their ids. Columns are found by the field's number,
so that a file from before a change of the schema reads as one of now.
"""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
    schema_to_pyarrow,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.schema import Schema, sanitize_column_names
from pyiceberg.table import Table
from pyiceberg.typedef import Record

from beacon_core.data.prediction_log.lake.lake import Lake, LakeDamagedError, mapped_errors
from beacon_core.domain.masking import message_of

GROUP_ROWS = 1 << 13
"""Rows of a group: who looks up one of them reads them all."""
SAMPLED_ROWS = 4096
MOST_DISTINCT = 0.4
"""A column with a larger share of distinct values gets no dictionary."""
ORDER = [("time", "ascending"), ("id", "ascending")]
FIELD_ID = b"PARQUET:field_id"
DAY_MICROSECONDS = 86_400_000_000


class RowGroup(NamedTuple):
    """A group of rows of a file: its number, its first and last time in microseconds, its smallest and largest id."""

    number: int
    first: int
    last: int
    smallest: str
    largest: str


def columns_of(schema: Schema) -> pa.Schema:
    """The columns of a table of the lake in memory."""
    return schema_to_pyarrow(schema, include_field_ids=False)


def fitted(table: pa.Table, columns: pa.Schema) -> pa.Table:
    """The table with just these columns, null where it has not got one."""
    there = set(table.column_names)
    arrays = [
        table[field.name].cast(field.type) if field.name in there else pa.nulls(len(table), field.type)
        for field in columns
    ]
    return pa.table(arrays, schema=columns)


def write_file(table: Table, day: int, parts: Iterable[pa.Table]) -> DataFile | None:
    """Write a file of a day from parts that are in order; None where they have no rows. Commits nothing."""
    schema = table.schema()
    columns = columns_of(schema)
    physical = sanitize_column_names(schema)
    in_file = schema_to_pyarrow(physical)
    groups = cut((fitted(part, columns) for part in parts), GROUP_ROWS)
    first = next(groups, None)
    if first is None:
        return None
    path = f"{table.location()}/data/time_day={day}/{uuid.uuid4()}.parquet"
    output = table.io.new_output(path)
    try:
        with mapped_errors():
            with output.create() as stream, pq.ParquetWriter(stream, in_file, **_encodings(first, in_file)) as writer:
                for group in chain([first], groups):
                    writer.write_table(pa.table(group.columns, schema=in_file), row_group_size=GROUP_ROWS)
            size = len(output)
    except BaseException:
        _delete(table, path)  # on a full disk half a file is in the way
        raise
    statistics = data_file_statistics_from_parquet_metadata(
        writer.writer.metadata,
        compute_statistics_plan(physical, table.properties),
        parquet_path_to_id_mapping(physical),
    )
    return DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=path,
        file_format=FileFormat.PARQUET,
        partition=Record(day),
        file_size_in_bytes=size,
        sort_order_id=table.sort_order().order_id,
        spec_id=table.spec().spec_id,
        **statistics.to_serialized_dict(),
    )


def write_days(table: Table, rows: pa.Table) -> list[DataFile]:
    """Write rows of any days, in any order: one file a day."""
    rows = rows.sort_by(ORDER)
    days = pc.divide(rows["time"].cast(pa.int64()), DAY_MICROSECONDS)
    found = pc.value_counts(days)
    files, begin = [], 0
    for day, count in sorted((one["values"], one["counts"]) for one in found.to_pylist()):
        file = write_file(table, day, [rows.slice(begin, count)])
        files += [] if file is None else [file]
        begin += count
    return files


def delete_files(table: Table, files: Iterable[DataFile]) -> None:
    """Delete files that no commit names; what cannot be deleted is left to `maintenance.sweep`."""
    for file in files:
        _delete(table, file.file_path)


def _delete(table: Table, path: str) -> None:
    with suppress(OSError):
        table.io.delete(path)


class OpenFile:
    """A file of the lake that is open to be read."""

    def __init__(self, lake: Lake, table: Table, path: str) -> None:
        self._path = path
        self._columns = columns_of(table.schema())
        with self._mapped_errors():
            source = table.io.new_input(path).open()
            with lake.lock:
                footer = lake.footers.get(path)
            self._file = pq.ParquetFile(source, metadata=footer)
            if footer is None:
                with lake.lock:
                    lake.footers[path] = self._file.metadata
        numbers = {field.name: field.field_id for field in table.schema().fields}
        names = {int(field.metadata[FIELD_ID]): field.name for field in self._file.schema_arrow}
        self._names = {name: names[number] for name, number in numbers.items() if number in names}

    def groups(self) -> list[RowGroup]:
        """Its groups of rows."""
        metadata = self._file.metadata
        leaves = self._file.schema.names
        time, name = leaves.index(self._names["time"]), leaves.index(self._names["id"])
        found = []
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            times, ids = group.column(time).statistics, group.column(name).statistics
            found.append(RowGroup(number, times.min_raw, times.max_raw, ids.min, ids.max))
        return found

    def read(self, groups: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """Read those columns of some groups; a column that the file has not is null."""
        wanted = [self._names[name] for name in columns if name in self._names]
        with self._mapped_errors():
            found = self._file.read_row_groups(list(groups), columns=wanted, use_threads=False)
        back = {physical: name for name, physical in self._names.items()}
        found = found.rename_columns([back[name] for name in found.column_names])
        return fitted(found, self.columns(columns))

    def columns(self, names: Sequence[str]) -> pa.Schema:
        """Those columns of the table, as `read` gives them."""
        return pa.schema([self._columns.field(name) for name in names])

    def close(self) -> None:
        self._file.close(force=True)

    def __enter__(self) -> "OpenFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _mapped_errors(self) -> "_ReadErrors":
        return _ReadErrors(self._path)


class _ReadErrors:
    """Names the file in the error of reading it, and tells a damaged one from one that does not answer."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _stack: object) -> None:
        if isinstance(error, pa.ArrowInvalid | pa.ArrowNotImplementedError) or _is_garbled(error):
            assert error is not None  # noqa: S101 - of one of these types
            raise LakeDamagedError(f"{self._path} is damaged: {message_of(error)}") from error
        with mapped_errors():
            if error is not None:
                raise error


def _is_garbled(error: BaseException | None) -> bool:
    """Whether Arrow could read the bytes, but not understand them: it has the type of errors of the disk for both."""
    marks = ("thrift", "decompress", "page", "Unexpected end of stream", "ZSTD", "Corrupt")
    return isinstance(error, OSError) and error.errno is None and any(mark in str(error) for mark in marks)


def cut(tables: Iterable[pa.Table], size: int) -> Iterator[pa.Table]:
    """Cut tables that follow each other into such of so many rows."""
    waiting: list[pa.Table] = []
    rows = 0
    for table in tables:
        waiting.append(table)
        rows += len(table)
        if rows < size:
            continue
        whole = pa.concat_tables(waiting)
        for begin in range(0, rows - size + 1, size):
            yield whole.slice(begin, size)
        rows %= size
        waiting = [whole.slice(len(whole) - rows)]
    if rows:
        yield pa.concat_tables(waiting)


def _encodings(first: pa.Table, in_file: pa.Schema) -> dict[str, Any]:
    """How the columns are encoded: by a dictionary where values repeat, else by what suits the type."""
    dictionary: list[str] = []
    others: dict[str, str] = {}
    for field, column in zip(in_file, first.columns, strict=True):
        if pa.types.is_large_list(field.type):
            dictionary.append(f"{field.name}.list.element")
            continue
        if pa.types.is_boolean(field.type):
            continue
        sample = column.slice(0, SAMPLED_ROWS)
        if pc.count_distinct(sample).as_py() <= MOST_DISTINCT * len(sample):
            dictionary.append(field.name)
        elif pa.types.is_float64(field.type):
            others[field.name] = "BYTE_STREAM_SPLIT"
        elif pa.types.is_timestamp(field.type):
            others[field.name] = "DELTA_BINARY_PACKED"
    return {
        "compression": "zstd",
        "use_dictionary": dictionary,
        "column_encoding": others or None,
        "write_statistics": True,
        "store_schema": False,
    }
