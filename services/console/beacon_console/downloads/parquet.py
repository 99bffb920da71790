"""A table as Parquet, by arro3: 33 MB in the image, where pyarrow takes 152 (decision 29)."""

import io
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from arro3.core import Array, DataType, Field, RecordBatch, RecordBatchReader, Schema
from arro3.io import write_parquet as write

from beacon_console.downloads.table import Cell, Kind, Table

TYPE = "application/vnd.apache.parquet"
EPOCH, MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
TYPES: dict[Kind, DataType] = {
    "text": DataType.utf8(),
    "number": DataType.float64(),
    "bool": DataType.bool(),
    "time": DataType.timestamp("us", tz="UTC"),
}


def write_parquet(table: Table) -> bytes:
    """Write it; a cell that is not of its column's kind, as an older product may have it, is null."""
    schema = Schema([Field(column.name, TYPES[column.kind]) for column in table.columns])

    def batches() -> Iterator[RecordBatch]:
        for rows in table.batches:
            cells = [[row[place] for row in rows] for place in range(len(table.columns))]
            arrays = [_array(column.kind, of) for column, of in zip(table.columns, cells, strict=True)]
            yield RecordBatch.from_arrays(arrays, schema=schema)

    file = io.BytesIO()
    write(RecordBatchReader.from_batches(schema, batches()), file)
    return file.getvalue()


def _array(kind: Kind, cells: Sequence[Cell]) -> Array:
    if kind == "text":
        return Array([cell if isinstance(cell, str) else None for cell in cells], TYPES[kind])
    if kind == "bool":
        return Array([cell if isinstance(cell, bool) else None for cell in cells], TYPES[kind])
    if kind == "number":
        return Array([float(cell) if isinstance(cell, int | float) else None for cell in cells], TYPES[kind])
    moments = [(cell - EPOCH) // MICROSECOND if isinstance(cell, datetime) else None for cell in cells]
    return Array(moments, DataType.int64()).cast(TYPES[kind])
