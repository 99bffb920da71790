"""How the numbers of a text are spelt: the decimal mark and the thousands mark, found in a sample of its cells."""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

from beacon_core.domain.source import SEPARATORS
from beacon_core.sources.signs import bare

LOOKS = re.compile(rf"[+-]?[\d{re.escape(SEPARATORS)}]*\d[\d{re.escape(SEPARATORS)}]*(?:[eE][+-]?\d+)?", re.ASCII)
WIDE = " '\u00a0\u202f\u2019"
"""Thousands marks that are no decimal mark elsewhere; `_` is one only where product.yaml says so."""


class Spelling(NamedTuple):
    """The two marks; `thousands` is empty without one. `unclear` is a cell that may mean two numbers, else empty."""

    decimal: str = "."
    thousands: str = ""
    unclear: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether numbers are spelt as in Python."""
        return self.decimal == "." and not self.thousands


PLAIN, COMMA, ENGLISH = Spelling(), Spelling(","), Spelling(".", ",")
SPELLINGS = (PLAIN, COMMA, ENGLISH, Spelling(",", "."), *(Spelling(mark, wide) for wide in WIDE for mark in ".,"))
"""In the order of preference."""


@cache
def number_pattern(spelling: Spelling) -> str:
    """The pattern of a whole cell that holds a number; thousands must stand in groups of three."""
    mark, group = re.escape(spelling.decimal), re.escape(spelling.thousands)
    whole = rf"(?:[0-9]{{1,3}}(?:{group}[0-9]{{3}})+|[0-9]+)" if group else "[0-9]+"
    return rf"^[+-]?(?:{whole}(?:{mark}[0-9]*)?|{mark}[0-9]+)(?:[eE][+-]?[0-9]+)?$"


def find_spelling(
    columns: Iterable[Sequence[str]], delimiter: str, decimal: str | None, thousands: str | None
) -> Spelling:
    """The spelling that fits the most columns of the sample; a mark that is given is taken as it is."""
    if decimal is not None and thousands is not None:
        return Spelling(decimal, thousands)
    options = [
        each for each in SPELLINGS if decimal in {None, each.decimal} and thousands in {None, each.thousands}
    ] or [Spelling(mark, thousands or "") for mark in ".," if mark != thousands]
    numbers = [cells for column in columns if (cells := _numbers(column))]
    if PLAIN in options and all(_fits(PLAIN, cells) for cells in numbers):
        return PLAIN
    fits = {option: sum(_fits(option, cells) for cells in numbers) for option in options}
    most = max(fits.values())
    best = [option for option in options if fits[option] == most]
    if best[0] == COMMA and ENGLISH in best:  # each comma has three digits behind it
        if delimiter == ",":
            return ENGLISH
        cell = next(cell for cells in numbers for cell in cells if "," in cell)
        return COMMA._replace(unclear=cell)
    return best[0]


def _numbers(column: Sequence[str]) -> list[str]:
    """The distinct cells of a column that look like numbers, if most of them do."""
    cells = {stripped for cell in column if (stripped := cell.strip())}
    found = _looking(cells) or _looking({bare(cell) for cell in cells})
    return sorted(found)


def _looking(cells: set[str]) -> list[str]:
    found = [cell for cell in cells if LOOKS.fullmatch(cell)]
    return found if 2 * len(found) > len(cells) else []


def _fits(spelling: Spelling, cells: Sequence[str]) -> bool:
    pattern = re.compile(number_pattern(spelling))
    return all(map(pattern.match, cells))
