"""Which columns of a table are no features, each with its reason."""

import re
from collections.abc import Iterable, Mapping

import numpy as np

from beacon_core.domain.integers import EXACT_BELOW
from beacon_core.domain.precision import LARGEST_FLOAT32
from beacon_core.domain.product_rules import COLUMN, MOST_CHARACTERS, RESERVED
from beacon_retraining.proposal.quick_model import SUSPECT_R2, Closeness
from beacon_retraining.proposal.table_column import TableColumn

MOST_MISSING = 0.95
TEXT_SHARE = 0.5
"""A text with more different values than this share of the rows is free text or an identifier."""
FEWEST_ROWS = 100
THINGS = (
    "account|case|client|cust|customer|device|emp|employee|item|order|passenger|patient|person|prod|product|record|row|"
    "sensor|shop|station|store|subject|trip|user"
)
ID_NAME = re.compile(rf"(?i:(?:^|[\W_]|{THINGS})(?:id|uuid|guid)$)|[a-z]I[Dd]$")
"""`user_id`, `userId` and `userid`; not `humid`, `bid` or `paid`."""
YEAR_NAME = re.compile(r"year|yr|jahr|age|time|date|period", re.IGNORECASE)
LATER_SHARE = 0.9


def name_problem(name: str, taken: Iterable[str]) -> str:
    """Why a column's name cannot be a feature's; empty where it can."""
    if not name:
        return "has no name"
    if name in RESERVED:
        return "its name is one that Beacon uses; rename it in the table to use it"
    if len(name) > MOST_CHARACTERS:
        return f"its name has more than {MOST_CHARACTERS} characters; rename it in the table to use it"
    if not COLUMN.fullmatch(name):
        odd = next((f"has {char!r}" for char in name if not COLUMN.fullmatch(f"a{char}a")), f"begins with {name[0]!r}")
        return f"its name {odd}, which a feature's name may not have; rename it in the table to use it"
    other = next((each for each in taken if each.casefold() == name.casefold()), None)
    return (
        f"its name differs from {other} only in upper and lower case; rename it in the table to use it" if other else ""
    )


def reason(column: TableColumn) -> str:
    """Why a column by itself is no feature; empty where it is one."""
    if column.kind == "unreadable":
        return f"cannot be read: {column.problem}"
    if column.kind == "empty":
        return "holds no value at all"
    if column.is_measured and max(abs(column.low), abs(column.high)) > LARGEST_FLOAT32:
        return f"has numbers beyond {LARGEST_FLOAT32:g}, which no model computes with"
    if column.distinct == 1:
        return "constant: one value in all rows" if not column.missing else "constant: one value, or none"
    if column.missing_share > MOST_MISSING:
        return f"missing in {column.missing_share:.1%} of the rows"
    if is_identifier(column):
        return "identifier: a value of its own in each row; give it as --key if entities are known by it"
    if column.kind == "int" and ID_NAME.search(column.name):
        return "identifier, by its name; give it as --key with --time, or make it a category of many levels"
    if column.kind == "many" and column.rows >= FEWEST_ROWS and column.distinct > TEXT_SHARE * column.rows:
        return f"free text or an identifier: {column.distinct} different texts in {column.rows} rows"
    return ""


def is_identifier(column: TableColumn) -> bool:
    """Whether each row has its own value, which measures nothing: text, numbers in a row, or called an id."""
    if not column.is_unique or column.missing:
        return False
    if column.kind == "many":
        return True
    if max(abs(column.low), abs(column.high)) >= EXACT_BELOW:
        return column.kind == "int"
    numbers_rows = column.high - column.low == column.rows - 1 and not YEAR_NAME.search(column.name)
    return column.kind == "int" and (numbers_rows or bool(ID_NAME.search(column.name)))


def can_be_key(column: TableColumn) -> bool:
    """Whether it could tell the rows apart: unique whole numbers or text, none missing."""
    is_text = column.kind in {"many", "category"}
    return column.is_unique and not column.missing and (is_text or column.kind == "int")


def leak_reason(close: Closeness, target: str) -> str:
    """Why a column gives the target away; empty where it does not."""
    if not close.is_leak:
        return ""
    return (
        f"leaks the target: its rank correlation with {target} is {close.ranks:.3f}, and it alone predicts "
        f"{target} with an R2 of {close.r2:.3f}"
    )


def leak_note(close: Closeness, target: str) -> str:
    """What to check of a column that nearly gives the target away."""
    if close.r2 < SUSPECT_R2:
        return ""
    return f"it alone predicts {target} with an R2 of {close.r2:.2f}: is it known before the target is?"


def copies(columns: Iterable[TableColumn]) -> dict[str, str]:
    """Columns that say the same as an earlier one: equal numbers, or levels that are renamed one to one."""
    seen: dict[tuple[str, bytes], str] = {}
    found: dict[str, str] = {}
    for column in columns:
        is_level = column.kind in {"category", "many", "bool"}
        values = _by_appearance(column) if is_level else column.values
        key = ("level" if is_level else column.kind, np.nan_to_num(values, nan=-1e308).tobytes())
        other = seen.setdefault(key, column.name)
        if other != column.name:
            found[column.name] = f"says the same as {other} in every row"
    return found


def later_dates(columns: Mapping[str, TableColumn], time: TableColumn) -> dict[str, str]:
    """Dates that lie after the event in nearly all rows, so they were not known when it happened."""
    found = {}
    event = _days(time)
    for name, column in columns.items():
        if column.is_time and name != time.name:
            days = _days(column)
            both = ~np.isnan(days) & ~np.isnan(event)
            share = float(np.mean(days[both] > event[both])) if both.any() else 0.0
            if share > LATER_SHARE:
                found[name] = f"known only afterwards: it is later than {time.name} in {share:.0%} of the rows"
    return found


def _days(column: TableColumn) -> "np.typing.NDArray[np.float64]":
    return column.values if column.kind == "date" else column.values / 86_400.0


def _by_appearance(column: TableColumn) -> "np.typing.NDArray[np.float64]":
    """Each value as the position of its first appearance, so that a renamed column looks the same."""
    known = ~np.isnan(column.values)
    _, first, inverse = np.unique(column.values[known], return_index=True, return_inverse=True)
    codes = np.full(len(column.values), np.nan)
    codes[known] = np.argsort(np.argsort(first))[inverse]
    return codes
