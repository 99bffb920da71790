"""The fields of the form: one for each feature, with its text, its choices, and what is wrong with it."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from beacon_console.formats import plain
from beacon_core.domain.feature import Feature
from beacon_core.domain.product import Product
from beacon_core.domain.value_rules import MOST_CHARACTERS, Value

PREFIX = "feature-"
"""Before the number of a feature, which is the name of its field: the name of a feature may hold any sign."""
MOST_CHOICES = 100
LARGEST_WHOLE = 2**53
"""Whole numbers up to it are sent as such; a float holds each of them."""
EXAMPLES = {"date": "2026-01-31", "timestamp": "2026-01-31T12:00:00Z"}


class Field(NamedTuple):
    """A field: `choices` are the values to choose from, empty where any may be typed."""

    name: str
    feature: Feature
    text: str
    choices: tuple[str, ...]
    is_number: bool
    hint: str
    error: str


def fields_of(product: Product, texts: Mapping[str, str], errors: Mapping[str, str]) -> list[Field]:
    """The form with these texts and errors, by feature, in the product's order."""
    return [
        Field(
            field_name(place),
            feature,
            texts.get(feature.name, ""),
            _choices(feature, texts.get(feature.name, "")),
            feature.is_number,
            _hint(feature),
            errors.get(feature.name, ""),
        )
        for place, feature in enumerate(product.features)
    ]


def field_name(place: int) -> str:
    """The name of the field of a feature."""
    return f"{PREFIX}{place}"


def texts_of(features: Mapping[str, Value | None]) -> dict[str, str]:
    """The values of features as a form has them; a missing one is empty."""
    return {name: plain(value) for name, value in features.items() if value is not None}


def read_values(product: Product, texts: Mapping[str, str]) -> tuple[dict[str, Value | None], dict[str, str]]:
    """The values that the texts stand for, and by feature what is wrong with its text."""
    values: dict[str, Value | None] = {}
    errors: dict[str, str] = {}
    for feature in product.features:
        text = texts.get(feature.name, "").strip()
        value = None if not text else _value_of(feature, text)
        problem = feature.problem(value)
        if isinstance(value, float) and math.isnan(value):
            errors[feature.name] = "must be a number"
        elif problem is not None:
            errors[feature.name] = "must not be empty" if value is None else problem.rule
        values[feature.name] = value
    return values, errors


def _value_of(feature: Feature, text: str) -> Value:
    """The value of a text; NaN for what should be a number and is none."""
    if feature.type == "bool":
        return {"true": True, "false": False}.get(text.lower(), text)
    if feature.is_text:
        return text
    try:
        number = float(text)
    except ValueError:
        return math.nan
    is_whole = math.isfinite(number) and number == int(number) and abs(number) <= LARGEST_WHOLE
    return int(number) if is_whole else number


def _choices(feature: Feature, text: str) -> tuple[str, ...]:
    """What a feature may be, if that is a short list; with the text that it has, so that nothing is lost."""
    if feature.type == "bool":
        known: tuple[str, ...] = ("true", "false")
    elif feature.known_levels and feature.unseen == "refuse" and len(feature.known_levels) <= MOST_CHOICES:
        known = tuple(plain(level) for level in feature.known_levels)
    else:
        return ()
    return known if not text or text in known else (*known, text[:MOST_CHARACTERS])


def _hint(feature: Feature) -> str:
    if feature.is_time:
        return f"such as {EXAMPLES[feature.type]}"
    return "" if feature.valid is None else feature.valid_text()
