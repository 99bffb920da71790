"""The entry of a feature, as product.yaml spells it, and the comment that says what was seen and what to check."""

from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np

from beacon_retraining.proposal.ranges import range_of, unit_of
from beacon_retraining.proposal.table_column import TableColumn

FEW_NUMBERS = 12
OTHER_ABOVE = 12
"""A category of more levels will meet new ones."""
EPOCH = date(1970, 1, 1)


class FeatureProposal(NamedTuple):
    """A feature: its name, its entry and why it is so."""

    name: str
    entry: dict[str, Any]
    why: str


def propose_feature(column: TableColumn, *, is_event: bool, has_event: bool, note: str = "") -> FeatureProposal:
    """The entry of a column that is a feature."""
    entry, seen = FORMS[column.kind](column)
    if column.is_time:
        entry["parts"] = _parts(column, is_event=is_event, has_event=has_event)
    if unit := unit_of(column) if column.is_measured else "":
        entry["unit"] = unit
    example = _example(column)
    if example is not None:
        entry["example"] = example
    missing = f"missing in {column.missing_share:.1%} of the rows" if column.missing else ""
    parts = [seen, missing, *column.notes, note]
    return FeatureProposal(column.name, entry, "; ".join(filter(None, parts)))


def shown(number: float) -> str:
    """A number in a comment."""
    return f"{number:.15g}"


def moment(column: TableColumn, number: float) -> str:
    """A date or timestamp as text."""
    if column.kind == "date":
        return (EPOCH + timedelta(days=number)).isoformat()
    return datetime.fromtimestamp(number, UTC).isoformat().replace("+00:00", "Z")


def _number(column: TableColumn) -> tuple[dict[str, Any], str]:
    seen = f"{shown(column.low)} to {shown(column.high)}"
    if column.kind == "int" and column.distinct <= FEW_NUMBERS:
        seen += f", {column.distinct} whole numbers: if they are codes, say type: category and levels"
    bounds = range_of(column)
    entry: dict[str, Any] = {"type": column.kind}
    if bounds != (None, None):
        entry["valid"] = list(bounds)
    return entry, seen


def _flag(_column: TableColumn) -> tuple[dict[str, Any], str]:
    return {"type": "bool"}, ""


def _listed(column: TableColumn) -> tuple[dict[str, Any], str]:
    rarest = min(zip(column.counts, column.levels, strict=True))
    entry: dict[str, Any] = {"type": "category", "levels": sorted(column.levels)}
    if len(column.levels) > OTHER_ABOVE:
        entry["unseen"] = "other"
    seen = f"{column.distinct} levels, the rarest ({rarest[1]}) in {rarest[0]} rows"
    return entry, f"{seen}; ordered: true if they have an order, and list them in it"


def _many(column: TableColumn) -> tuple[dict[str, Any], str]:
    return {"type": "category", "levels": "many"}, f"{column.distinct} levels, which the model's package lists"


def _time(column: TableColumn) -> tuple[dict[str, Any], str]:
    return {"type": column.kind}, f"{moment(column, column.low)} to {moment(column, column.high)}"


FORMS = {
    "float": _number,
    "int": _number,
    "bool": _flag,
    "category": _listed,
    "many": _many,
    "date": _time,
    "timestamp": _time,
}


def _parts(column: TableColumn, *, is_event: bool, has_event: bool) -> list[str]:
    """A model does not know years to come, so the event's own year is left out; other dates tell an age."""
    first = [] if is_event else ["age"] if has_event else ["year"]
    clock = ["hour_cycle"] if column.kind == "timestamp" else []
    return [*first, "day_of_year_cycle", "weekday", *clock]


def _example(column: TableColumn) -> Any:
    """An ordinary value, one that the table has."""
    known = column.values[~np.isnan(column.values)]
    if not len(known):
        return None
    if column.kind == "bool":
        return bool(2 * known.sum() > len(known))
    if column.kind in {"category", "many"}:
        return column.common
    middle = float(np.quantile(known, 0.5, method="lower"))
    if column.is_time:
        return moment(column, middle)
    return int(middle) if column.kind == "int" else middle
