"""The dialect of a file: what product.yaml says of it, and what was found; one line shows all of it."""

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from beacon_core.domain.data_errors import FILE, HEADER, DataError, listed, shown_value, without_a_name
from beacon_core.domain.source import Format
from beacon_core.sources.spelling import PLAIN, Spelling, find_spelling

DELIMITERS = ",;\t|"
BLANKS = " "
"""The delimiter of aligned columns: any number of blanks and tabs."""
FEW_BROKEN = 0.9
"""A delimiter that fewer records agree on is none."""
SAMPLE_RECORDS = 5000
INDEX_NAME = re.compile(r"Unnamed: 0(\.\d+)?|__index_level_\d+__|\.\.\.1")
NUMBER = re.compile(r"[+-]?[\d.,]+(?:[eE][+-]?\d+)?", re.ASCII)
SEP_LINE = re.compile(r"sep=([,;|\t])\r?\n", re.IGNORECASE)
"""A first line that tells Excel the delimiter; it is no row."""
WHOLE = re.compile(r"\d+", re.ASCII)
KINDS = {"csv": "CSV", "parquet": "Parquet", "jsonlines": "JSON lines", "sql": "SQL"}
ENCODINGS = {"utf-8-sig": "UTF-8", "cp1252": "Windows-1252", "latin-1": "Latin-1"}


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """How a table is written. `missing` is None where product.yaml says no marks; `found` are those that were met."""

    kind: str
    encoding: str = "utf-8-sig"
    compression: str = "none"
    delimiter: str = ","
    quote: str = '"'
    spelling: Spelling = PLAIN
    has_header: bool = True
    names: tuple[str, ...] = ()
    index: tuple[str, ...] = ()
    missing: tuple[str, ...] | None = None
    found: tuple[str, ...] = ()
    is_data: bool = False
    """Whether the header looks like a row: its numbers are numbers, and each text of it stands below itself."""

    @property
    def text(self) -> str:
        """One line for people."""
        parts = [KINDS[self.kind]]
        parts += [self.compression] * (self.compression != "none")
        if self.kind == "csv":
            parts.append(ENCODINGS.get(self.encoding, self.encoding))
            parts.append("delimiter blanks" if self.delimiter == BLANKS else f"delimiter {shown_value(self.delimiter)}")
            parts += [f"quote {shown_value(self.quote)}"] * (self.quote != '"')
            parts += ["no header"] * (not self.has_header)
        if self.spelling.decimal != ".":
            parts.append("decimal comma")
        if self.spelling.thousands:
            parts.append(f"thousands {shown_value(self.spelling.thousands)}")
        parts.append(f"{len(self.names)} columns")
        marks = self.found if self.missing is None else self.missing
        if marks:
            parts.append(f"missing {', '.join(mark or 'an empty cell' for mark in marks)}")
        if self.index:
            parts.append(f"left out as an index: {', '.join(name or self._nameless for name in self.index)}")
        return ", ".join(parts)

    @property
    def _nameless(self) -> str:
        return "columns without a name" if self.names[0] else "the first column, which has no name"

    @property
    def format(self) -> dict[str, Any]:
        """What of it is unlike the plainest CSV, as `format` of product.yaml says it."""
        facts = {
            "delimiter": (self.delimiter, ","),
            "decimal": (self.spelling.decimal, "."),
            "thousands": (self.spelling.thousands, ""),
            "encoding": (self.encoding, "utf-8-sig"),
            "missing": (list(self.found if self.missing is None else self.missing), []),
            "index": (list(self.index), []),
        }
        return {name: value for name, (value, plain) in facts.items() if value != plain}


class Head(NamedTuple):
    """What the beginning of a CSV text tells: its dialect, and where its rows begin, in characters."""

    dialect: Dialect
    body: int


def sniff(text: str, name: str, given: Format, *, encoding: str, compression: str, is_whole: bool) -> Head:
    """Find the dialect of a CSV text by its beginning; raises `DataError`."""
    quote = '"' if given.quote is None else given.quote
    hint = SEP_LINE.match(text)
    skipped = hint.end() if hint else 0
    text = text[skipped:]
    delimiter = given.delimiter or (hint[1] if hint else "") or _find_delimiter(text, quote, is_whole)
    records = _records(text, delimiter, quote, is_whole)
    first = next((record for record in records if _has_content(record)), None)
    if first is None:
        raise DataError(name, FILE, "is empty")
    rows = [record for record in records[records.index(first) + given.header :] if _has_content(record)]
    names = _names(name, given, [cell.strip() for cell in first])
    columns = [[row[place] for row in rows if place < len(row)] for place in range(len(names))]
    spelling = find_spelling(columns, delimiter, given.decimal, given.thousands)
    if spelling.unclear:
        cell = spelling.unclear
        rule = f"the number {cell!r} may be {cell.replace(',', '.')} or {cell.replace(',', '')}"
        raise DataError(name, FILE, f"{rule}: say format.decimal or format.thousands in product.yaml")
    dialect = Dialect(
        kind="csv",
        encoding=encoding,
        compression=compression,
        delimiter=delimiter,
        quote=quote,
        spelling=spelling,
        has_header=given.header,
        names=tuple(names),
        index=_index(names, columns) if given.index is None else given.index,
        missing=given.missing,
        is_data=given.header and _is_data(names, columns),
    )
    return Head(dialect, skipped + (_body(text, delimiter, quote) if given.header else 0))


def check_header(name: str, dialect: Dialect) -> None:
    """Raise `DataError` for a header that does not name the columns."""
    names = dialect.names
    twice = [shown_value(column) for column, count in Counter(names).items() if column and count > 1]
    nameless = [place for place, column in enumerate(names, 1) if not column and column not in dialect.index]
    faults = [
        listed(twice, "is in the header twice", "are in the header twice"),
        f"{without_a_name(nameless)}: a delimiter too many, or an index?" if nameless else "",
        _first_row(names) if dialect.is_data else "",
    ]
    if any(faults):
        raise DataError(name, HEADER, "; ".join(filter(None, faults)))


def _is_data(names: Sequence[str], columns: Sequence[Sequence[str]]) -> bool:
    """Whether a header is a row: numbers alone, or numbers and texts that are cells of their columns."""
    texts = [place for place, name in enumerate(names) if not NUMBER.fullmatch(name)]
    return len(texts) < len(names) and all(names[place] in map(str.strip, columns[place]) for place in texts)


def _first_row(names: Sequence[str]) -> str:
    rule = f"looks like a row ({', '.join(names[:4])}): where the first line is data"
    return f"{rule}, say header: false and names, in format of product.yaml or by --format of beacon new"


def _names(name: str, given: Format, first: list[str]) -> list[str]:
    if given.header:
        return first
    if len(given.names) != len(first):
        rule = f"format.names of product.yaml names {len(given.names)} columns, the first line has {len(first)}"
        raise DataError(name, HEADER, rule)
    return list(given.names)


def _find_delimiter(text: str, quote: str, is_whole: bool) -> str:
    """The delimiter by which the most records have as many fields as the first one, which has several."""
    votes: list[tuple[float, int, str]] = []
    for delimiter in DELIMITERS:
        records = [record for record in _records(text, delimiter, quote, is_whole) if _has_content(record)]
        width = len(records[0]) if records else 0
        if width > 1:
            share = sum(len(record) == width for record in records) / len(records)
            votes.append((round(share, 2), width, delimiter))
    best = max(votes, key=lambda vote: vote[:2], default=(0.0, 1, ","))
    if best[0] < FEW_BROKEN:
        widths = set(map(len, filter(_has_content, _records(text, BLANKS, quote, is_whole))))
        if len(widths) == 1 and max(widths) > 1:
            return BLANKS
    return best[2]


def _records(text: str, delimiter: str, quote: str, is_whole: bool) -> list[list[str]]:
    """The first records; the last one is left out where the text goes on behind it."""
    lines = io.StringIO(text, newline="")
    reader = _reader(map(_aligned, lines) if delimiter == BLANKS else lines, delimiter, quote)
    records: list[list[str]] = []
    try:
        for record in reader:
            records.append(record)
            if len(records) > SAMPLE_RECORDS:
                return records
    except csv.Error:
        pass  # told with its line when the rows are read
    return records if is_whole or len(records) < 2 else records[:-1]


def _body(text: str, delimiter: str, quote: str) -> int:
    """Where the text goes on behind its header."""
    read = 0

    def lines() -> Any:
        nonlocal read
        for line in io.StringIO(text, newline=""):
            read += len(line)
            yield line

    for record in _reader(lines(), delimiter, quote):
        if _has_content(record):
            break
    return read


def _reader(lines: Any, delimiter: str, quote: str) -> Any:
    quoting: Any = csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE
    is_aligned = delimiter == BLANKS
    return csv.reader(lines, delimiter=delimiter, quotechar=quote or None, quoting=quoting, skipinitialspace=is_aligned)


def _aligned(line: str) -> str:
    return line.strip().replace("\t", BLANKS) + "\n"


def _has_content(record: Sequence[str]) -> bool:
    return len(record) > 1 or bool("".join(record).strip())


def _index(names: list[str], columns: list[list[str]]) -> tuple[str, ...]:
    """The first column, where it numbers or names the rows as pandas and R write it; else nameless empty columns."""
    name = names[0]
    cells = [cell.strip() for cell in columns[0]]
    if len(names) > 1 and (not name or INDEX_NAME.fullmatch(name)) and cells and len(set(cells)) == len(cells):
        is_named = not name and "" not in cells
        return (name,) if is_named or all(map(WHOLE.fullmatch, cells)) else ()
    nameless = [place for place, each in enumerate(names) if not each]
    return ("",) if nameless and not any(cell.strip() for place in nameless for cell in columns[place]) else ()
