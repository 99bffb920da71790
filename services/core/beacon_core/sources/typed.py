"""The typed step: columns of a stream as exact values of the types that are asked for."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from beacon_core.domain.data_errors import ROWS, DataError
from beacon_core.domain.source import Format
from beacon_core.sources.column_types import ColumnType
from beacon_core.sources.dialect import Dialect
from beacon_core.sources.marks import NUMBER_MARKS, TEXT_MARKS
from beacon_core.sources.stream import Stream
from beacon_core.sources.time_column import TimeColumn
from beacon_core.sources.value_column import ValueColumn


class TypedTable(NamedTuple):
    """The columns that were asked for, and how the table is written, with the marks that were met."""

    table: pa.Table
    dialect: Dialect


class _Column:
    """One column: its missing values are found here, its values by its type."""

    def __init__(self, name: str, kind: ColumnType, dialect: Dialect, given: Format) -> None:
        self.name = name
        self.found: set[str] = set()
        said = dialect.missing
        usual = TEXT_MARKS if kind.type == "text" else NUMBER_MARKS
        # A level that product.yaml lists is one, whatever the word stands for in other columns.
        marks = [mark for each in (usual if said is None else said) if (mark := each.strip()) not in kind.levels]
        self._marks = pa.array(sorted(set(marks)), pa.string())
        self._said = "" if not said else " or ".join(mark or "an empty cell" for mark in sorted(set(marks)))
        is_time = kind.type in {"date", "timestamp"}
        pattern = given.dates.get(name)
        self._values = (
            TimeColumn(name, kind, pattern)
            if is_time
            else ValueColumn(name, kind, dialect.spelling, given.signs.get(name, ""))
        )

    def add(self, file: str, cells: pa.Array) -> None:
        """Take the next cells; raises `DataError` for a type of Arrow that no column is read as."""
        cells = _simple(file, self.name, cells)
        if pa.types.is_string(cells.type):
            cells = pc.utf8_trim_whitespace(cells)
            is_mark = pc.is_in(cells, value_set=self._marks)
            if pc.any(is_mark).as_py():
                self.found |= set(pc.unique(cells.filter(is_mark)).to_pylist())
                cells = pc.if_else(is_mark, pa.scalar(None, pa.string()), cells)
        self._values.add(cells)

    def finish(self, file: str) -> pa.ChunkedArray:
        """The cells that were added since the last call; raises `DataError`."""
        return self._values.finish(file, f", or {self._said}" if self._said else "")


def read_typed(
    stream: Stream,
    types: Mapping[str, ColumnType],
    given: Format,
    *,
    rows: int | None = None,
    most: int | None = None,
) -> TypedTable:
    """The columns of `types`, in its order, all of which the stream has; raises `DataError`.

    Reading ends after `rows` rows; more than `most` are an error.
    """
    names = stream.dialect.names
    columns = [_Column(name, kind, stream.dialect, given) for name, kind in types.items()]
    places = [names.index(name) for name in types]
    count = 0
    for block in stream.blocks:
        length = len(block[0])
        left = length if rows is None else min(rows - count, length)
        for column, place in zip(columns, places, strict=True):
            column.add(stream.name, block[place].slice(0, left))
        count += left
        if most is not None and count > most:
            raise DataError(stream.name, ROWS, f"must have at most {most} rows, has more")
        if rows is not None and count >= rows:
            break
    table = pa.table({column.name: column.finish(stream.name) for column in columns})
    found = set().union(*(column.found for column in columns))
    marks = tuple(sorted(found)) if stream.dialect.missing is None else ()
    return TypedTable(table, msgspec.structs.replace(stream.dialect, found=marks))


def typed_blocks(
    stream: Stream, types: Mapping[str, ColumnType], given: Format, *, skip: int = 0
) -> Iterator[pa.Table]:
    """Yield the columns of `types` block by block; raises `DataError`, which counts rows from the stream's first.

    The first `skip` blocks are not converted: they have null columns of their length. A column of times must have one
    form in each block.
    """
    names = stream.dialect.names
    columns = [_Column(name, kind, stream.dialect, given) for name, kind in types.items()]
    for number, block in enumerate(stream.blocks):
        if number < skip:
            yield pa.table({column.name: pa.nulls(len(block[0])) for column in columns})
            continue
        for column in columns:
            column.add(stream.name, block[names.index(column.name)])
        yield pa.table({column.name: column.finish(stream.name) for column in columns})


def _simple(file: str, name: str, cells: pa.Array) -> pa.Array:
    """Text as one type of Arrow, decimals as text, codes of a dictionary as what they stand for."""
    kind = cells.type
    if pa.types.is_dictionary(kind):
        return _simple(file, name, cells.dictionary_decode())
    if pa.types.is_null(kind):
        return pa.nulls(len(cells), pa.string())
    if pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return cells
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return cells
    if pa.types.is_nested(kind) or pa.types.is_duration(kind):
        raise DataError(file, name, f"is of the type {kind}; a cell must hold one value")
    try:
        return cells.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(file, name, f"is of the type {kind}, which is not read as text") from error
