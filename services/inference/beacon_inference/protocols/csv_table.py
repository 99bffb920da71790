"""Parses a CSV table of a request, as MLflow's clients send it."""

import csv
import io
import re
from collections.abc import Callable
from functools import partial
from itertools import filterfalse, islice
from typing import Any

from beacon_core.domain.data_errors import without_a_name
from beacon_core.domain.errors import BeaconError
from beacon_core.domain.integers import whole_or_float
from beacon_core.domain.missing import missing_markers
from beacon_core.domain.numbers import NUMBER_RULE, NotFiniteError, NumberError, read_number
from beacon_core.domain.product import Feature
from beacon_inference.prediction.inputs import PredictionInputs
from beacon_inference.prediction.values import check_body_values
from beacon_inference.protocols.table import TableParser

INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
FLAGS = {"true": True, "false": False, "1": True, "0": False}
"""How a cell says true and false, in any case."""

# By default Python refuses to read integers of a few more digits than this.
LONGEST_INTEGER = 4000
LARGER_THAN_ANY_KEY = 1 << 64

Reader = Callable[[str, str], Any]
"""Reads a cell, stripped and not missing; the second text is its place, for an error."""


def read_csv(body: bytes, tables: TableParser) -> PredictionInputs:
    """The table of a header line and rows; raises BeaconError."""
    check_body_values(body, tables.product, tables.max_rows, b",\n\r")
    try:
        reader = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=None), strict=True)
        lines = list(islice(filterfalse(_is_blank, reader), tables.max_rows + 2))
    except (UnicodeDecodeError, csv.Error) as error:
        raise BeaconError("invalid_body", f"the body is not CSV in UTF-8: {error}") from error
    if len(lines) < 2:
        raise BeaconError("invalid_body", "send a header line and at least one row")
    header, *rows = lines
    names = [name.strip() for name in header]
    _check_names(names, tables)
    tables.check_count(len(rows), "rows")
    for index, row in enumerate(rows):
        if len(row) != len(names):
            raise BeaconError("invalid_shape", f"has {len(row)} values, the header {len(names)}", f"rows[{index}]")
    missing = missing_markers(tables.product)
    columns = [
        _column(name, list(cells), missing, tables) for name, cells in zip(names, zip(*rows, strict=True), strict=True)
    ]

    def exact_keys(name: str) -> list[Any]:
        cells = [row[names.index(name)].strip() for row in rows]
        return [None if cell in missing else _whole_key(cell, "") for cell in cells]

    return tables.of_columns(names, columns, len(rows), "rows", exact_keys)


def _column(name: str, cells: list[str], missing: frozenset[str], tables: TableParser) -> list[Any]:
    """The values of a column; a level of product.yaml is never a mark of a missing value."""
    feature = tables.feature(name)
    levels = frozenset(map(str, feature.codes)) if feature is not None and feature.is_text else frozenset()
    read = _reader(feature, tables.is_text_key(name))
    values: list[Any] = []
    for index, cell in enumerate(map(str.strip, cells)):
        is_missing = cell in missing and cell not in levels
        values.append(None if is_missing else read(cell, f"rows[{index}].{name}"))
    return values


def _reader(feature: Feature | None, is_text_key: bool) -> Reader:
    if feature is None:
        return _text if is_text_key else _whole_key
    if feature.is_text:
        return _text
    return partial(_flag, feature) if feature.type == "bool" else _number


def _text(cell: str, _place: str) -> str:
    return cell


def _flag(feature: Feature, cell: str, place: str) -> bool:
    value = FLAGS.get(cell.lower())
    if value is None:
        raise BeaconError("invalid_type", f"{feature.name} must be true or false, is {cell[:32]!r}", place[:128])
    return value


def _number(cell: str, place: str) -> float:
    try:
        return read_number(cell)
    except NumberError as error:
        code = "not_finite" if isinstance(error, NotFiniteError) else "invalid_type"
        rule = f"{cell[:32]!r} must be {NUMBER_RULE}, or a word that pandas reads as missing, such as NA"
        raise BeaconError(code, rule, place[:128]) from error


def _whole_key(cell: str, _place: str) -> int | float | str:
    """Read an entity's key exactly, as in JSON. Text that is not a number is refused later."""
    if INTEGER.fullmatch(cell):
        return int(cell) if len(cell) <= LONGEST_INTEGER else LARGER_THAN_ANY_KEY
    try:
        read_number(cell)
    except NumberError:
        return cell
    return whole_or_float(cell)


def _check_names(names: list[str], tables: TableParser) -> None:
    """Raise one BeaconError for all columns of a header that have no name or an unknown one."""
    nameless = [place for place, name in enumerate(names, 1) if not name]
    unknown = tables.unknown([name for name in names if name], "rows")
    if nameless:
        message = f"the header's {without_a_name(nameless)}"
        raise BeaconError("unknown_feature", f"{message}; {unknown.message}" if unknown else message, "header")
    if unknown:
        raise unknown


def _is_blank(line: list[str]) -> bool:
    """Whether the line is blank. A row of one missing value is not: it has quotes or a marker such as NA."""
    return not line or (len(line) == 1 and line[0].isspace())
