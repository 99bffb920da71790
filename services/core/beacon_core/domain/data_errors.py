"""The error of a table that breaks a rule, and how it shows values and their rows."""

from collections.abc import Iterable
from itertools import islice
from typing import TypeVar

from beacon_core.domain.exit_statuses import BAD_DATA

ValueT = TypeVar("ValueT")

SHOWN = 3
SHOWN_CHARACTERS = 64
FILE, HEADER, ROWS = "(file)", "(header)", "(rows)"
"""What stands for a column where the rule is about the file, its header or its rows as a whole."""


class DataError(ValueError):
    """The data breaks a rule; the message is `FILE: COLUMN: RULE`."""

    exit_status = BAD_DATA

    def __init__(self, file: str, column: str, rule: str) -> None:
        super().__init__(f"{file}: {column}: {rule}")
        self.file = file
        self.column = column
        self.rule = rule


def examples(found: Iterable[tuple[int, ValueT]], count: int) -> str:
    """List the first offending values with the numbers of their rows, and how many more of `count` there are."""
    shown = ", ".join(f"{shown_value(value)} in row {row}" for row, value in islice(found, SHOWN))
    return shown + (f" and {count - SHOWN} more" if count > SHOWN else "")


def shown_value(value: object) -> str:
    """A value on one line, not too long."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


def listed(names: list[str], one: str, many: str) -> str:
    """`a, b are missing`; empty without names."""
    return f"{', '.join(names)} {one if len(names) == 1 else many}" if names else ""


def without_a_name(places: list[int]) -> str:
    """The message on the columns at `places`, counted from 1, that a header gives no name."""
    shown = ", ".join(map(str, places))
    return f"column {shown} has no name" if len(places) == 1 else f"columns {shown} have no name"
