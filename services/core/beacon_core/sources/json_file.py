"""JSON: one object per line, or one list of objects; each key is a column, and null or no key is a missing value."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from beacon_core.domain.data_errors import FILE, DataError
from beacon_core.domain.source import Format
from beacon_core.sources.cells import CellError, text_column
from beacon_core.sources.dialect import Dialect
from beacon_core.sources.stream import Stream
from beacon_core.sources.text_bytes import find_encoding, text_blocks

Record = dict[str, Any]
BLOCK_BYTES = 1 << 22
DECODER = msgspec.json.Decoder(Record)


def open_json(file: Path, name: str, given: Format, compression: str) -> Stream:
    """Read a file of JSON objects; raises `DataError`."""
    encoding = find_encoding(file, name, compression, given.encoding)
    blocks = text_blocks(file, name, compression, encoding)
    names: dict[str, None] = {}
    tables = [_columns(name, records, first, names) for first, records in _numbered(_records(name, blocks))]
    dialect = Dialect(
        kind="jsonlines",
        encoding=encoding,
        compression=compression,
        names=tuple(names),
        index=given.index or (),
        missing=given.missing or (),
    )
    return Stream(name, dialect, _blocks(tables, tuple(names)))


def _blocks(tables: list[dict[str, pa.Array]], names: tuple[str, ...]) -> Iterator[list[pa.Array]]:
    """A column that a block lacks is missing there."""
    tables.reverse()
    while tables:
        table = tables.pop()
        rows = len(next(iter(table.values()), ()))
        yield [table.get(column, pa.nulls(rows, pa.string())) for column in names]


def _columns(name: str, records: list[Record], first: int, names: dict[str, None]) -> dict[str, pa.Array]:
    own: dict[str, None] = {}
    for record in records:
        own |= dict.fromkeys(record)
    names |= own
    columns = {}
    for column in own:
        try:
            columns[column] = text_column([record.get(column) for record in records])
        except CellError as error:
            raise DataError(name, column, f"{error}, in row {first + error.place}") from error
    return columns


def _numbered(blocks: Iterator[list[Record]]) -> Iterator[tuple[int, list[Record]]]:
    """Blocks of records with the number of their first row, from 1."""
    row = 1
    for records in blocks:
        if records:
            yield row, records
            row += len(records)


def _records(name: str, blocks: Iterator[bytes]) -> Iterator[list[Record]]:
    rest, line = b"", 1
    for block in blocks:
        rest += block
        if rest.lstrip()[:1] == b"[":
            yield _list(name, rest + b"".join(blocks))
            return
        if len(rest) < BLOCK_BYTES:
            continue
        whole, _, rest = rest.rpartition(b"\n")
        yield _lines(name, whole, line)
        line += whole.count(b"\n") + 1
    yield _lines(name, rest, line)


def _list(name: str, content: bytes) -> list[Record]:
    try:
        return msgspec.json.decode(content, type=list[Record])
    except msgspec.DecodeError as error:
        raise DataError(name, FILE, f"is not a list of JSON objects: {error}") from error


def _lines(name: str, content: bytes, first: int) -> list[Record]:
    try:
        return DECODER.decode_lines(content) if content.strip() else []
    except msgspec.DecodeError:
        pass
    records = []
    for line, text in enumerate(content.split(b"\n"), first):  # again, for the line of the fault
        try:
            records += [DECODER.decode(text)] if text.strip() else []
        except msgspec.DecodeError as error:
            raise DataError(name, FILE, f"is not JSON, in line {line}: {error}") from error
    return records
