"""What product.yaml and policy.yaml share: frozen, typed objects, and errors that name file, key and rule."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import msgspec

from beacon_core.domain.errors import ConfigurationError
from beacon_core.domain.yaml_text import explain, shown_key

Rule = tuple[str, bool, str]
"""A key, whether its rule holds, and the rule."""


MOST_DAYS = 36_500
"""A century. Longer ones reach back to years that neither Feast nor Python's calendar can compute with."""


class ProductError(ConfigurationError):
    """product.yaml or policy.yaml breaks a rule; the message is `FILE: KEY: RULE`."""

    def __init__(self, file: Path, key: str, rule: str) -> None:
        super().__init__(f"{file}: {shown_key(key)}: {rule}")
        self.file = file
        self.key = key
        self.rule = rule


class Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every part of the product spec: immutable, and a misspelt key is an error."""


SpecT = TypeVar("SpecT", bound=msgspec.Struct)


def convert(file: Path, prefix: str, raw: object, kind: type[SpecT]) -> SpecT:
    """Convert `raw`, the content below the key `prefix`, to typed objects; raises `ProductError`."""
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        key, rule = explain(error, raw, kind)
        raise ProductError(file, ".".join(filter(None, (prefix, key))) or "(top)", rule) from error


def check_rules(file: Path, rules: Iterable[Rule]) -> None:
    """Raise `ProductError` for the first rule that does not hold."""
    for key, holds, rule in rules:
        if not holds:
            raise ProductError(file, key, rule)


def is_rising(numbers: Sequence[float]) -> bool:
    """Whether each number is above the one before it."""
    return all(low < high for low, high in pairwise(numbers))


def check_misplaced_keys(file: Path, raw: object, elsewhere: Iterable[str], home: str) -> None:
    """Raise `ProductError` for a key that belongs to the other file of the two, `home`."""
    if isinstance(raw, dict) and (key := next((key for key in elsewhere if key in raw), None)):
        raise ProductError(file, key, f"belongs to {home}, beside this file")
