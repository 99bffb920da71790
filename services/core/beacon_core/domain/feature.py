"""A feature: what product.yaml says of it, with the defaults of what it leaves out."""

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from beacon_core.domain.derived import DEFAULT_PARTS, TIME_PARTS, Formula, Lag, Part
from beacon_core.domain.spec import MOST_DAYS, ProductError, Rule, check_rules, convert
from beacon_core.domain.text import normal_text
from beacon_core.domain.value_rules import MANY, MOST_CHARACTERS, Level, Value, ValueRuleError, ValueRules


class FeatureEntry(ValueRules, frozen=True, kw_only=True):
    """One feature as product.yaml spells it; `read_entry` makes `derived` a `Formula` or a `Lag`, by its keys."""

    title: str = ""
    """What it is, for people; empty: its name."""
    unit: str = ""
    """Its unit, for people."""
    example: Value | None = None
    """An ordinary value, for the API's documentation; null: the middle of its range."""
    impute: Literal["median", "most_frequent"] | None = None
    """What stands for a missing value; null: median for numbers and times, most_frequent for the others."""
    ordered: bool = False
    """Whether the levels have the order of the list."""
    encode: Literal["auto", "onehot", "ordinal", "target"] = "auto"
    """How a category becomes columns; auto: by its number of levels."""
    parts: tuple[Part, ...] = ()
    """Columns that a date or timestamp gives; empty: year, day_of_year_cycle, weekday."""
    derived: Any = None
    """A formula of other features, or a lag of the entity's past."""


class Feature(ValueRules, frozen=True, kw_only=True):
    """A feature that requests and the feature store have; `lag` is set where the store computes it."""

    name: str
    title: str
    unit: str
    example: Value
    impute: Literal["median", "most_frequent"]
    ordered: bool = False
    encode: Literal["auto", "onehot", "ordinal", "target"] = "auto"
    parts: tuple[Part, ...] = ()
    lag: Lag | None = None

    @property
    def rules(self) -> ValueRules:
        """The rules for its values alone."""
        return ValueRules(**{name: getattr(self, name) for name in ValueRules.__struct_fields__})


class Derived(msgspec.Struct, frozen=True):
    """A column that only the model has: it is computed from features."""

    name: str
    title: str
    unit: str
    formula: Formula


def read_entry(file: Path, name: str, raw: object) -> FeatureEntry:
    """Check one entry of `features`; raises `ProductError`."""
    key = f"features.{name}"
    entry = convert(file, key, raw, FeatureEntry)
    if entry.derived is not None:
        kind = Lag if isinstance(entry.derived, Mapping) and "lag" in entry.derived else Formula
        entry = msgspec.structs.replace(entry, derived=convert(file, f"{key}.derived", entry.derived, kind))
    check_rules(file, [(f"{key}.{at}" if at else key, holds, rule) for at, holds, rule in _rules(entry)])
    if isinstance(entry.levels, tuple):
        levels = tuple(map(_spelt, entry.levels))
        check_rules(file, [(f"{key}.levels", holds, rule) for holds, rule in _level_rules(levels)])
        entry = msgspec.structs.replace(entry, levels=levels)
    _check_bounds(file, key, entry)
    if entry.example is not None and (problem := entry.problem(entry.example)):
        raise ProductError(file, f"{key}.example", problem.rule)
    return entry


def make_feature(name: str, entry: FeatureEntry) -> Feature:
    """The feature of a checked entry, with the defaults of what it leaves out."""
    return Feature(
        name=name,
        type=entry.type,
        valid=entry.valid,
        levels=MANY if entry.type == "category" and entry.levels is None else entry.levels,
        unseen=entry.unseen,
        nullable=entry.nullable,
        title=entry.title or name,
        unit=entry.unit,
        example=_example(entry) if entry.example is None else entry.example,
        impute=entry.impute or ("most_frequent" if entry.is_category else "median"),
        ordered=entry.ordered,
        encode=entry.encode,
        parts=(entry.parts or DEFAULT_PARTS) if entry.is_time else (),
        lag=entry.derived if isinstance(entry.derived, Lag) else None,
    )


def _spelt(level: Level) -> Level:
    return normal_text(level) if isinstance(level, str) else level


def _rules(entry: FeatureEntry) -> list[Rule]:
    is_time, is_category = entry.is_time, entry.type == "category"
    formula = entry.derived if isinstance(entry.derived, Formula) else None
    days = entry.derived.days if isinstance(entry.derived, Lag) else 1
    needs = f"is for a category, not for a {entry.type}"
    impute = "median is for measurements and times, most_frequent for categories and booleans"
    return [
        ("levels", entry.levels is None or is_category, needs),
        ("levels", entry.levels != (), "must list at least one level"),
        ("unseen", entry.unseen == "refuse" or is_category, needs),
        ("unseen", entry.unseen == "refuse" or not entry.has_number_levels, "other is for levels that are text"),
        ("ordered", not entry.ordered or is_category, needs),
        ("encode", entry.encode == "auto" or is_category, needs),
        ("parts", not entry.parts or is_time, f"are for a date or timestamp, not for a {entry.type}"),
        ("parts", entry.type != "date" or TIME_PARTS.isdisjoint(entry.parts), "must have no hour: a date has none"),
        ("parts", len(set(entry.parts)) == len(entry.parts), "holds a part twice"),
        ("valid", entry.valid is None or entry.is_measured or is_time, f"is a range, and a {entry.type} has none"),
        ("impute", entry.impute in {None, "most_frequent" if entry.is_category else "median"}, impute),
        ("derived", formula is None or bool(formula.kind), "must be one of ratio, difference, log, square or lag"),
        ("derived", entry.derived is None or entry.type == "float", "gives a number: its type must be float"),
        ("derived.days", 1 <= days <= MOST_DAYS, f"must be 1 to {MOST_DAYS}"),
    ]


def _level_rules(levels: tuple[Level, ...]) -> list[tuple[bool, str]]:
    texts = [level for level in levels if isinstance(level, str)]
    spellings = Counter(text.casefold() for text in texts)
    double = next((text for text in texts if spellings[text.casefold()] > 1), "")
    return [
        (not any(isinstance(level, bool) for level in levels), "are true and false: its type must be bool"),
        (len(texts) in {0, len(levels)}, "must be all text (in quotes) or all numbers"),
        (len(set(levels)) == len(levels), "holds a value twice"),
        (not double, f"holds {double!r} twice, in upper and lower case: make them one in the data"),
        (all(0 < len(text) <= MOST_CHARACTERS for text in texts), f"must be 1 to {MOST_CHARACTERS} characters long"),
        (all(text.isprintable() for text in texts), "must be printable, on one line"),
    ]


def _check_bounds(file: Path, key: str, entry: FeatureEntry) -> None:
    if entry.valid is None:
        return
    try:
        low, high = entry.bounds
    except ValueRuleError as error:
        raise ProductError(file, f"{key}.valid", error.problem.rule) from error
    if low >= high:
        raise ProductError(file, f"{key}.valid", "the low end must be below the high end")


def _example(entry: FeatureEntry) -> Value:
    """A value that is valid, for a feature that names none."""
    if entry.type == "bool":
        return False
    if entry.type == "category":
        return entry.known_levels[0] if entry.known_levels else "A"
    low, high = entry.bounds
    number = 0.0 if low <= 0 <= high else (low if math.isfinite(low) else high)
    if math.isfinite(low) and math.isfinite(high):
        number = math.floor((low + high) / 2) if entry.is_whole or entry.is_time else (low + high) / 2
    return entry.to_value(number) or 0
