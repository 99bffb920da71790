"""A table as Parquet."""

import io
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pyarrow as pa
from pyarrow.parquet import ParquetWriter

from beacon_console.downloads.table import Cell, Kind, Table

TYPE = "application/vnd.apache.parquet"
EPOCH, MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
TYPES: dict[Kind, pa.DataType] = {
    "text": pa.string(),
    "number": pa.float64(),
    "bool": pa.bool_(),
    "time": pa.timestamp("us", tz="UTC"),
}


def write_parquet(table: Table) -> bytes:
    """Write it; a cell that is not of its column's kind, as an older product may have it, is null."""
    schema = pa.schema([(column.name, TYPES[column.kind]) for column in table.columns])
    file = io.BytesIO()
    with ParquetWriter(file, schema) as writer:
        for rows in table.batches:
            cells = [[row[place] for row in rows] for place in range(len(table.columns))]
            arrays = [_array(column.kind, of) for column, of in zip(table.columns, cells, strict=True)]
            writer.write_table(pa.table(arrays, schema=schema))
    return file.getvalue()


def _array(kind: Kind, cells: Sequence[Cell]) -> pa.Array:
    if kind == "text":
        return pa.array([cell if isinstance(cell, str) else None for cell in cells], TYPES[kind])
    if kind == "bool":
        return pa.array([cell if isinstance(cell, bool) else None for cell in cells], TYPES[kind])
    if kind == "number":
        return pa.array([float(cell) if isinstance(cell, int | float) else None for cell in cells], TYPES[kind])
    moments = [(cell - EPOCH) // MICROSECOND if isinstance(cell, datetime) else None for cell in cells]
    return pa.array(moments, pa.int64()).cast(TYPES[kind])
