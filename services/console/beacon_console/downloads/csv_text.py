"""A table as CSV that no spreadsheet takes for formulas."""

import csv
import io
import re
from datetime import datetime

from beacon_console.downloads.table import Cell, Table

TYPE = "text/csv; charset=utf-8"
FULLWIDTH = "\uff1d\uff0b\uff0d\uff20"
FORMULA = re.compile(rf"\s*[=+\-@{FULLWIDTH}]|[\t\r\n]")
"""What spreadsheets take for the beginning of a formula, blanks before it included."""
NUMBER = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)


def write_csv(table: Table) -> bytes:
    """Write it, with a header; a text that begins like a formula gets an apostrophe before it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([_cell(column.name) for column in table.columns])
    for batch in table.batches:
        writer.writerows([_cell(cell) for cell in row] for row in batch)
    return text.getvalue().encode("utf-8", "replace")


def _cell(value: Cell) -> str | float | int:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str):
        return f"'{value}" if FORMULA.match(value) and not NUMBER.fullmatch(value) else value
    return value
