"""Checks of the values, entities and ids in a body, with errors that name the field and the rule."""

import difflib
import json
from collections.abc import Iterable
from typing import Any

import msgspec

from beacon_core.domain.errors import BeaconError
from beacon_core.domain.ids import is_client_id
from beacon_core.domain.integers import KINDS, check_integer, whole_or_float
from beacon_core.domain.numbers import is_finite
from beacon_core.domain.product import Product

# Parsed values take many times the memory of their text, so the values of larger bodies are counted first.
COUNTED_BYTES = 256 << 10
MAX_VALUES = 20_000
MAX_NAMES_LISTED = 10
VALUES_PER_ROW = 40

# All exceptions of msgspec for a body that it cannot decode.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def check_values(body: bytes, rows: int = 1) -> None:
    """Raise BeaconError `body_too_large` for a large body with more commas, so values, than `rows` rows can have."""
    if len(body) > COUNTED_BYTES and body.count(b",") > max(MAX_VALUES, VALUES_PER_ROW * rows):
        raise BeaconError("body_too_large", "the body has more values than the largest batch")


def read_entity(entity: Any, key: str, field: str) -> int:
    """Return the key out of `{KEY: number}`; raises BeaconError `invalid_entity`."""
    if not isinstance(entity, dict) or set(entity) != {key}:
        raise BeaconError("invalid_entity", f'entity must be {{"{key}": number}}', field)
    return entity_key(entity[key], key, field)


def entity_key(value: Any, key: str, field: str) -> int:
    """Return the `key` of the entity at `field`, a whole number of 64 bits; raises BeaconError `invalid_entity`."""
    try:
        return check_integer(value)
    except ValueError as error:
        raise BeaconError("invalid_entity", f"{key} {error}", f"{field}.{key}") from None


def explain_features(features: Any, product: Product, field: str) -> None:
    """Raise BeaconError for the first reason why `features` is not an object of known features and finite numbers."""
    if features is None:
        return
    if not isinstance(features, dict):
        raise BeaconError("invalid_type", "features must be an object of numbers", field)
    if unknown := unknown_features(features, product, field):
        raise unknown
    for name, value in features.items():
        explain_value(name, value, f"{field}.{name}")


def explain_value(name: str, value: Any, field: str) -> None:
    """Raise BeaconError `invalid_type` or `not_finite` where `value` is not a finite number or null."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BeaconError("invalid_type", f"{name} must be a number or null, not {KINDS[type(value)]}", field)
    if not is_finite(value):
        raise BeaconError("not_finite", f"{name} must be finite", field)


def unknown_features(names: Iterable[str], product: Product, field: str) -> BeaconError | None:
    """Return one BeaconError for all names below `field` that are not features; None where all are."""
    unknown = [name for name in dict.fromkeys(names) if name not in product.feature_names]
    if not unknown:
        return None
    messages = [_unknown(name, product) for name in unknown[:MAX_NAMES_LISTED]]
    if len(unknown) > MAX_NAMES_LISTED:
        messages.append(f"and {len(unknown) - MAX_NAMES_LISTED} more")
    place = f"{field}.{unknown[0]}" if len(unknown) == 1 else field
    return BeaconError("unknown_feature", "; ".join(messages), place[:128])


def _unknown(name: str, product: Product) -> str:
    """The message on an unknown name: why the feature is excluded, or the nearest name."""
    if name in product.excluded:
        return f"{name} is excluded: {product.excluded[name]}"
    spelt = {feature.casefold(): feature for feature in product.feature_names}
    near = difflib.get_close_matches(name.casefold()[:64], spelt, n=1)
    hint = f"; did you mean {spelt[near[0]]}?" if near else ""
    return f"unknown feature {name[:64]}{hint}"


def check_client_id(name: str, field: str) -> None:
    """Raise BeaconError `invalid_id` for a client's id that is too long or has other characters."""
    if not is_client_id(name):
        raise BeaconError("invalid_id", f"{field} must be 1 to 64 letters, digits or ._:- and begin with one", field)


def read_leniently(body: bytes, cause: Exception) -> Any:
    """Read JSON as Python does, with NaN and 1e999, so that the caller can name the offending field.

    `cause` is the error of the strict decoder. Raises BeaconError `invalid_json`.
    """
    if not body.strip():
        raise BeaconError("invalid_json", "the body is empty") from cause
    try:
        value = json.loads(body.decode("utf-8"), parse_float=whole_or_float)
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # lone surrogates stop here, as they are no Unicode text
        return value
    except (ValueError, RecursionError):
        raise BeaconError("invalid_json", f"the body is not JSON: {cause}") from cause
