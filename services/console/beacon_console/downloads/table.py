"""A table on its way into a file: its columns, and its rows in batches."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal, NamedTuple

Cell = str | float | int | bool | datetime | None
Kind = Literal["text", "number", "bool", "time"]
MOST_ROWS = 50_000
MOST_CELLS = 1_000_000
"""The file is made in memory: about 20 MB of CSV."""


class FileColumn(NamedTuple):
    """A column, and what its cells are."""

    name: str
    kind: Kind


class Table(NamedTuple):
    """A table: each batch holds rows of one cell per column."""

    columns: Sequence[FileColumn]
    batches: Iterable[Sequence[Sequence[Cell]]]


def most_rows(columns: int) -> int:
    """So many rows of so many columns a file has at most."""
    return min(MOST_ROWS, MOST_CELLS // max(columns, 1))
