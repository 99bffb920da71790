"""Parquet: columns with the types that the file has."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from beacon_core.domain.data_errors import FILE, HEADER, DataError
from beacon_core.domain.source import Format
from beacon_core.sources.dialect import INDEX_NAME, Dialect
from beacon_core.sources.stream import Stream

BATCH_ROWS = 1 << 16


def open_parquet(file: Path, name: str, given: Format) -> Stream:
    """Open a Parquet file; raises `DataError`, also while the blocks are read."""
    try:
        opened = pq.ParquetFile(file)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise DataError(name, FILE, f"is not a whole Parquet file: {str(error).partition(chr(10))[0][:200]}") from error
    names = tuple(opened.schema_arrow.names)
    if twice := [column for column, count in Counter(names).items() if count > 1]:
        raise DataError(name, HEADER, f"{', '.join(twice)} is there twice")
    index = given.index if given.index is not None else tuple(filter(INDEX_NAME.fullmatch, names))
    dialect = Dialect(kind="parquet", names=names, index=index, missing=given.missing or ())
    return Stream(name, dialect, _blocks(opened, name))


def _blocks(opened: pq.ParquetFile, name: str) -> Iterator[list[pa.Array]]:
    try:
        with opened:
            for batch in opened.iter_batches(batch_size=BATCH_ROWS):
                yield batch.columns
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise DataError(name, FILE, f"is a damaged Parquet file: {str(error).partition(chr(10))[0][:200]}") from error
