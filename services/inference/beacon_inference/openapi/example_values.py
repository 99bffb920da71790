"""Values for examples: ordinary ones of a product, and ones that surely break a rule."""

import csv
import io
import math
from collections.abc import Sequence
from typing import Any

from beacon_core.domain.entity_key import KeyValue
from beacon_core.domain.precision import decimals_of
from beacon_core.domain.product import Entity, Feature, Product, Target
from beacon_core.domain.value_rules import Value, ValueRules, other_code

KEY, NO_KEY = 17, 999_999_999
"""A number of an entity, and one of no entity."""


def ordinary_prediction(target: Target) -> tuple[float, float, float]:
    """A prediction that the target's range allows, and the ends of an interval around it."""
    low = target.low if target.low is not None else target.valid[0]
    high = target.high if target.high is not None else target.valid[1]
    if low is None:
        low = -1.0 if high is None else high - max(abs(high), 1.0)
    if high is None:
        high = low + max(abs(low), 2.0)
    spread = high - low
    decimals = max(decimals_of(spread) - 3, 0) if target.decimals is None else target.decimals
    middle = low + spread / 2
    below, above = target.bounds
    values = (middle, max(middle - spread / 10, below), min(middle + spread / 8, above))
    first, second, third = (round(value, decimals) for value in values)
    return first, second, third


def unknown_name(product: Product) -> str:
    """The first feature's name, misspelt so that it is none of the product's."""
    taken = {*product.feature_names, *product.excluded, *(column.name for column in product.derived)}
    name = product.features[0].name
    while name in taken:
        name += "_"
    return name


def unknown_level(feature: Feature) -> Value:
    """A value that is none of the feature's levels."""
    if feature.has_number_levels:
        return other_code(feature.known_levels)
    level = "no such level"
    while level in feature.codes:
        level += "_"
    return level


def beyond(rules: ValueRules) -> Value | None:
    """A value outside the valid range, of its type; None where the range is open, or all numbers."""
    low, high = rules.bounds
    for end, step in ((high, 1.0), (low, -1.0)):
        number = end + step * max(1.0, abs(end) / 10) if rules.is_measured else end + step * 86_400
        if rules.is_whole:
            number = end + step
        if math.isfinite(number) and not low <= number <= high:
            value = _value(rules, number)
            if value is not None and rules.problem(value) is not None:
                return value
    return None


def _value(rules: ValueRules, number: float) -> Value | None:
    try:
        return rules.to_value(number)
    except (OverflowError, ValueError):  # no calendar has the day
        return None


def entity_example(entity: Entity) -> dict[str, KeyValue]:
    """A key."""
    return {name: KEY if kind == "int64" else f"A-{KEY}" for name, kind in entity.columns}


def unknown_entity(entity: Entity) -> dict[str, KeyValue]:
    """A key of no entity."""
    return {name: NO_KEY if kind == "int64" else "nobody" for name, kind in entity.columns}


def csv_text(names: Sequence[str], values: Sequence[Any]) -> str:
    """A table of one row."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    writer.writerow([str(value).lower() if isinstance(value, bool) else value for value in values])
    return file.getvalue()
