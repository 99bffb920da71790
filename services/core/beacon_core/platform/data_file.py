"""The data file of a product: CSV text to columns of exact numbers, or an error that names the column and the rule.

Everything that reads the table uses this module: retraining, its checks, `make run`, the demo, the benchmarks. It
checks the file's form first (encoding, delimiter, header, whole rows), then each cell. Columns may have any order; the
cells of excluded columns are not read. It needs no library, so that every environment can use it.

Blank lines are not rows. A row is counted from 1: its number is the entity's key.
"""

import csv
import math
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import TypeVar

from beacon_core.domain.exit_statuses import BAD_DATA
from beacon_core.domain.numbers import NUMBER_RULE, WHOLE_RULE, NumberError, read_number, read_numbers
from beacon_core.domain.product import Product

Columns = dict[str, "array[float]"]
Block = list[tuple[str, ...]]
ValueT = TypeVar("ValueT")

SHOWN = 3
SHOWN_CHARACTERS = 64
BLOCK_ROWS = 5000
HEAD_BYTES = 1024
FILE, HEADER, ROWS = "(file)", "(header)", "(rows)"
OTHER_FORMATS = {
    b"\xff\xfe\0\0": "is UTF-32",
    b"\xff\xfe": "is UTF-16",
    b"\xfe\xff": "is UTF-16",
    b"PK\x03\x04": "is a zip archive, as a workbook of Excel is",
    b"\x1f\x8b": "is gzip",
}
NOT_UTF8 = re.compile("[\udc80-\udcff]")  # how `surrogateescape` shows a byte that is no text


class DataError(ValueError):
    """The data breaks a rule; the message is `FILE: COLUMN: RULE`."""

    exit_status = BAD_DATA

    def __init__(self, file: str, column: str, rule: str) -> None:
        super().__init__(f"{file}: {column}: {rule}")
        self.file = file
        self.column = column
        self.rule = rule


def read_columns(file: Path, product: Product, *, rows: int | None = None) -> Columns:
    """The features in the product's order, then the target; NaN where a value is missing. Raises `DataError`.

    With `rows`, the form of the whole file is checked, but only the cells of its first `rows` rows.
    """
    columns = _columns(product)
    for block in _blocks(file, product):
        left = len(block[0]) if rows is None else rows - len(columns[0].values)
        for column, cells in zip(columns, block, strict=True):
            column.add(cells[: max(left, 0)])
    for column in columns:
        column.check(file.name)
    return {column.name: column.values for column in columns}


def read_rows(file: Path, product: Product) -> Iterator[dict[str, float]]:
    """The same values, row by row; the file is read and checked only as far as the caller iterates."""
    names = (*product.feature_names, product.target.name)
    columns = _columns(product)
    for block in _blocks(file, product):
        first = len(columns[0].values)
        for column, cells in zip(columns, block, strict=True):
            column.add(cells)
            column.check(file.name)
        for row in zip(*(column.values[first:] for column in columns), strict=True):
            yield dict(zip(names, row, strict=True))


def examples(found: Iterable[tuple[int, ValueT]], count: int) -> str:
    """List the first offending values with the numbers of their rows, and how many more of `count` there are."""
    shown = ", ".join(f"{_shown(value)} in row {row}" for row, value in islice(found, SHOWN))
    return shown + (f" and {count - SHOWN} more" if count > SHOWN else "")


class _Column:
    """One column as it is read: its values so far, and the first of the cells that break its rule."""

    def __init__(self, name: str, missing: frozenset[str], rule: str) -> None:
        self.name = name
        self.values = array("d")
        self._missing = missing
        self._rule = rule
        self._wrong: list[tuple[int, str]] = []
        self._count = 0

    def add(self, cells: tuple[str, ...]) -> None:
        """Read the next cells."""
        values = read_numbers(cells)
        # The marker of a missing value may itself be a number, such as -999.
        if values is None or not self._missing.isdisjoint(cells) or not self._hold(values):
            first = len(self.values) + 1
            values = [self._read(row, cell.strip()) for row, cell in enumerate(cells, first)]
        self.values.extend(values)

    def check(self, file: str) -> None:
        """Raise `DataError` where a cell breaks the rule."""
        if self._count:
            marks = " or ".join(mark or "an empty cell" for mark in sorted(self._missing))
            rule = f"{self._rule}, or {marks}" if marks else self._rule
            raise DataError(file, self.name, f"must be {rule}, has {examples(self._wrong, self._count)}")

    def _hold(self, values: list[float]) -> bool:
        return self._rule != WHOLE_RULE or all(map(float.is_integer, values))

    def _read(self, row: int, cell: str) -> float:
        if cell in self._missing:
            return math.nan
        try:
            value = read_number(cell)
        except NumberError:
            pass
        else:
            if self._hold([value]):
                return value
        self._count += 1
        if self._count <= SHOWN:
            self._wrong.append((row, cell))
        return math.nan


def _columns(product: Product) -> list[_Column]:
    missing = frozenset(mark.strip() for mark in product.source.missing)
    rules = {feature.name: WHOLE_RULE if feature.is_whole else NUMBER_RULE for feature in product.features}
    return [_Column(name, missing, rule) for name, rule in (rules | {product.target.name: NUMBER_RULE}).items()]


def _blocks(file: Path, product: Product) -> Iterator[Block]:
    """The cells of the features and the target, column by column, some thousand rows at a time."""
    records = _records(file)
    header = [name.strip() for name in next(records, [])]
    if not header:
        raise DataError(file.name, FILE, "is empty")
    _check_header(file.name, header, product)
    pick = itemgetter(*(header.index(name) for name in (*product.feature_names, product.target.name)))
    rows = _rows(file.name, records, len(header), product)
    while block := list(zip(*map(pick, islice(rows, BLOCK_ROWS)), strict=True)):
        yield block


def _check_header(file: str, header: list[str], product: Product) -> None:
    """Raise `DataError` that names every column that is missing, unknown, there twice or without a name."""
    if len(header) == 1 and re.search(r"[;\t|]", header[0]):
        raise DataError(file, HEADER, f"has one column, {_shown(header[0])}: the delimiter must be a comma")
    wanted = (*product.feature_names, product.target.name)
    known = {*wanted, *product.excluded}
    counts = Counter(header)
    missing = [name for name in wanted if name not in counts]
    unknown = [_shown(name) for name in counts if name and name not in known]
    twice = [_shown(name) for name, count in counts.items() if name and count > 1]
    nameless = [place for place, name in enumerate(header, 1) if not name and name not in known]
    faults = [
        _listed(missing, "is missing", "are missing"),
        _listed(unknown, "is not a column of this product", "are not columns of this product"),
        _listed(twice, "is in the header twice", "are in the header twice"),
        f"{without_a_name(nameless)}: a comma too many, or an index?" if nameless else "",
        "renamed?" if missing and unknown else "",
    ]
    if any(faults):
        raise DataError(file, HEADER, "; ".join(filter(None, faults)))


def without_a_name(places: list[int]) -> str:
    """The message on the columns at `places`, counted from 1, that a header gives no name."""
    listed = ", ".join(map(str, places))
    return f"column {listed} has no name" if len(places) == 1 else f"columns {listed} have no name"


def _listed(names: list[str], one: str, many: str) -> str:
    return f"{', '.join(names)} {one if len(names) == 1 else many}" if names else ""


def _rows(file: str, records: Iterator[list[str]], width: int, product: Product) -> Iterator[list[str]]:
    """The records, as long as they are whole rows and not too many; raises `DataError`."""
    limits = product.source.rows
    count = empty = 0
    for record in records:
        if not record[0].strip() and not "".join(record).strip():
            empty = empty or count + 1
            continue
        if empty:  # at the end of a file a spreadsheet leaves such lines; here a row was emptied, and keys would shift
            raise DataError(file, f"(row {empty})", "contains only commas; remove the line")
        count += 1
        if len(record) != width:
            cut = "" if any(True for _ in records) else ", cut off at the end"
            raise DataError(file, f"(row {count})", f"has {len(record)} fields, the header has {width}{cut}")
        if count > limits.max:
            raise DataError(file, ROWS, f"must have at most {limits.max} rows, has more")
        yield record
    if count < limits.min:
        raise DataError(file, ROWS, f"has {count} rows, must have at least {limits.min}: truncated?")


def _records(file: Path) -> Iterator[list[str]]:
    """The records of the file as text, without blank lines; raises `DataError`."""
    with _opened(file) as text:
        reader = csv.reader(_lines(file.name, text), strict=True)
        while True:
            line = reader.line_num + 1
            try:
                record = next(reader, None)
            except csv.Error as error:
                raise DataError(file.name, FILE, f"is not CSV, in line {line}: {error}") from error
            if record is None:
                return
            if len(record) > 1 or "".join(record).strip():
                yield record


def _lines(file: str, text: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(text, 1):
        if "\0" in line:
            raise DataError(file, FILE, f"contains NUL bytes, in line {number}: must be CSV text in UTF-8")
        if not line.isascii() and (wrong := NOT_UTF8.search(line)):
            byte = ord(wrong[0]) - 0xDC00
            raise DataError(file, FILE, f"must be CSV text in UTF-8, has the byte 0x{byte:02x} in line {number}")
        yield line


@contextmanager
def _opened(file: Path) -> Iterator[Iterable[str]]:
    """The lines of the file; raises `DataError` where it is plainly something else."""
    try:
        stream = file.open("rb")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise DataError(file.name, FILE, f"cannot be read: {error.strerror}") from error
    with stream:
        head = stream.peek(HEAD_BYTES)
        for mark, name in OTHER_FORMATS.items():
            if head.startswith(mark):
                raise DataError(file.name, FILE, f"{name}, must be CSV text in UTF-8")
        if head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"<":
            raise DataError(file.name, FILE, "is HTML or XML, must be CSV")
        # Line ends stay as they are: the csv module knows those of every system, also within quotes.
        with TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
            yield text


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
