"""CSV: pyarrow reads it, in the dialect that was found; a fault is found again by Python's csv, which knows the line.

Blank lines are not rows. Lines of only delimiters are none at the end, where spreadsheets leave them, and a fault in
the middle, where a row was emptied.
"""

import csv
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from beacon_core.domain.data_errors import FILE, DataError
from beacon_core.domain.source import Format
from beacon_core.sources.dialect import BLANKS, SEP_LINE, Dialect, sniff
from beacon_core.sources.stream import Stream
from beacon_core.sources.text_bytes import Utf8File, check_format, read_head, utf8_file

SAMPLE_BYTES = 1 << 20
BLOCK_BYTES = 1 << 23


@contextmanager
def open_csv(file: Path, name: str, given: Format, compression: str) -> Iterator[Stream]:
    """Open a CSV file; raises `DataError`, also while the blocks are read."""
    check_format(name, read_head(file, name, compression))
    with utf8_file(file, name, compression, given) as text:
        with text.path.open("rb") as stream:
            stream.seek(text.start)
            sample = stream.read(SAMPLE_BYTES)
            is_whole = not stream.read(1)
        beginning = sample.decode("utf-8", "ignore")
        head = sniff(beginning, name, given, encoding=text.encoding, compression=compression, is_whole=is_whole)
        body = text.start + len(beginning[: head.body].encode())
        if head.dialect.delimiter != BLANKS:
            yield Stream(name, head.dialect, _Rows(text, name, head.dialect, body).blocks())
            return
        with tempfile.NamedTemporaryFile(prefix="beacon-text-") as copy:
            with text.path.open("rb") as stream:
                stream.seek(body)
                copy.writelines(_with_tabs(stream, head.dialect.quote))
            copy.flush()
            tabbed = msgspec.structs.replace(head.dialect, delimiter="\t", has_header=False)
            rows = _Rows(text._replace(path=Path(copy.name)), name, tabbed, 0)
            yield Stream(name, head.dialect, rows.blocks())


def _with_tabs(lines: Iterable[bytes], quote: str) -> Iterator[bytes]:
    """Lines of aligned columns, whose fields stand apart by any number of blanks, with one tab between fields."""
    mark = re.escape(quote.encode())
    quoted = rb"%b(?:[^%b\n]|%b%b)*%b|" % ((mark,) * 5) if quote else b""
    field = re.compile(quoted + rb"\S+")
    return (b"\t".join(field.findall(line)) + b"\n" for line in lines)


class _Rows:
    """The rows of one file, whose first one begins at the byte `body`."""

    def __init__(self, text: Utf8File, name: str, dialect: Dialect, body: int) -> None:
        self._text = text
        self._name = name
        self._dialect = dialect
        self._body = body
        self._width = len(dialect.names)
        self._is_doubtful = bool(text.quotes % 2)

    def blocks(self) -> Iterator[list[pa.Array]]:
        """The cells as text, column by column."""
        if self._has_no_rows():
            return
        count = empty = 0
        try:
            with pa.OSFile(str(self._text.path)) as file:
                file.seek(self._body)
                with pyarrow.csv.open_csv(file, **self._options()) as reader:
                    for batch in reader:
                        columns, empty = self._without_empty_rows(batch.columns, count, empty)
                        count += len(columns[0])
                        yield columns
        except pa.ArrowInvalid as error:
            self._explain()
            raise DataError(self._name, FILE, f"is not CSV: {_first_line(error)}") from error
        if self._is_doubtful:
            self._explain()

    def _has_no_rows(self) -> bool:
        with self._text.path.open("rb") as file:
            file.seek(self._body)
            return not any(line.strip() for line in file)

    def _without_empty_rows(self, columns: list[pa.Array], count: int, empty: int) -> tuple[list[pa.Array], int]:
        """The columns without rows that hold nothing, and the number of the first of these; `count` rows came before.

        Raises `DataError` for one that is followed by a row.
        """
        empties = self._empty_rows(columns)
        if empties is None:
            kept = len(columns[0])
        elif self._width == 1:
            return [column.filter(pc.invert(empties)) for column in columns], 0
        else:
            kept = _last_false(empties) + 1
            if pc.any(empties.slice(0, kept)).as_py():
                empty = empty or count + pc.index(empties, True).as_py() + 1
        if kept and empty:
            raise DataError(self._name, f"(row {empty})", "contains only delimiters; remove the line")
        if kept < len(columns[0]):
            empty = empty or count + kept + 1
        return [column.slice(0, kept) for column in columns], empty

    def _options(self) -> dict[str, Any]:
        names = [str(place) for place in range(self._width)]
        return {
            "read_options": pyarrow.csv.ReadOptions(block_size=BLOCK_BYTES, column_names=names),
            "parse_options": pyarrow.csv.ParseOptions(
                delimiter=self._dialect.delimiter,
                quote_char=self._dialect.quote or False,
                newlines_in_values=bool(self._dialect.quote),
                invalid_row_handler=self._on_invalid,
            ),
            "convert_options": pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        }

    def _on_invalid(self, row: pyarrow.csv.InvalidRow) -> str:
        text = row.text.strip()
        if not text:
            return "skip"
        if not text.replace(self._dialect.delimiter, "").strip():
            self._is_doubtful = True  # fine at the end alone
            return "skip"
        return "error"

    def _empty_rows(self, columns: list[pa.Array]) -> pa.Array | None:
        """Which rows hold nothing; None where no row does."""
        empties: pa.Array | None = None
        for column in columns:
            bare = pc.equal(pc.utf8_trim_whitespace(column), "")
            empties = bare if empties is None else pc.and_(empties, bare)
            if not pc.any(empties).as_py():
                return None
        return empties

    def _explain(self) -> None:
        """Read the file again by a strict parser, and raise `DataError` with the line or the row."""
        with self._text.path.open(encoding="utf-8-sig", newline="") as lines:
            if not SEP_LINE.fullmatch(lines.readline()):
                lines.seek(0)
            _check_records(self._name, self._dialect, lines)


def _last_false(mask: pa.Array) -> int:
    """The position of the last row that is not empty; -1 without one."""
    positions = pc.indices_nonzero(pc.invert(mask))
    return positions[-1].as_py() if len(positions) else -1


def _check_records(name: str, dialect: Dialect, lines: TextIO) -> None:
    quoting: Any = csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE
    reader = csv.reader(
        lines, delimiter=dialect.delimiter, quotechar=dialect.quote or None, quoting=quoting, strict=True
    )
    records = _strict(name, reader)
    width = len(dialect.names)
    if dialect.has_header:
        next(records, None)
    count = empty = 0
    for record in records:
        if not record[0].strip() and not "".join(record).strip():
            empty = empty or count + 1
            continue
        if empty:
            raise DataError(name, f"(row {empty})", "contains only delimiters; remove the line")
        count += 1
        if len(record) != width:
            cut = "" if any(True for _ in records) else ", cut off at the end"
            raise DataError(name, f"(row {count})", f"has {len(record)} fields, the header has {width}{cut}")


def _strict(name: str, reader: Any) -> Iterator[list[str]]:
    """The records that are no blank lines."""
    while True:
        line = reader.line_num + 1
        try:
            record = next(reader, None)
        except csv.Error as error:
            raise DataError(name, FILE, f"is not CSV, in line {line}: {error}") from error
        if record is None:
            return
        if len(record) > 1 or "".join(record).strip():
            yield record


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0][:200]
