"""Checks of the values, entities and ids in a body, with errors that name the field and the rule."""

import json
from collections.abc import Iterable
from typing import Any

import msgspec

from beacon_core.domain import entity_key
from beacon_core.domain.entity_key import EntityKey, EntityKeyError
from beacon_core.domain.errors import BeaconError
from beacon_core.domain.ids import is_client_id
from beacon_core.domain.integers import whole_or_float
from beacon_core.domain.product import Product
from beacon_core.domain.text import close_match
from beacon_core.domain.value_rules import ValueRules
from beacon_core.web.bounds import check_values
from beacon_inference.prediction.encoding import encode_value

VALUES_PER_FEATURE = 3
"""So many commas a body may have for each feature and row: texts have commas, too."""
MAX_NAMES_LISTED = 10

NO_ENTITY = "the product has no entity"
ANY_NUMBER = ValueRules()
# All exceptions of msgspec for a body that it cannot decode.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def check_body_values(body: bytes, product: Product, rows: int = 1, separators: bytes = b",") -> None:
    """Raise BeaconError `body_too_large` for a large body with more values than `rows` rows of the product can have."""
    check_values(body, rows, VALUES_PER_FEATURE * (len(product.features) + len(product.keys) + 1), separators)


def read_entity(entity: Any, product: Product, field: str) -> EntityKey:
    """Return the key out of `{KEY: value, ...}`; raises BeaconError `invalid_entity`."""
    if product.entity is None:
        raise BeaconError("invalid_entity", NO_ENTITY, field)
    try:
        return entity_key.read_entity(product.entity, entity)
    except EntityKeyError as error:
        raise BeaconError("invalid_entity", str(error), f"{field}.{error.column}" if error.column else field) from None


def explain_features(features: Any, product: Product, field: str) -> None:
    """Raise BeaconError for the first reason why `features` is not an object of known features and their values."""
    if features is None:
        return
    if not isinstance(features, dict):
        raise BeaconError("invalid_type", "features must be an object of names and values", field)
    if unknown := unknown_features(features, product, field):
        raise unknown
    for feature in product.features:
        encode_value(feature, features.get(feature.name), f"{field}.{{feature}}", 0)


def explain_number(name: str, value: Any, field: str) -> None:
    """Raise BeaconError `invalid_type` or `not_finite` where `value` is not a finite number or null."""
    if problem := ANY_NUMBER.problem(value):
        raise BeaconError(problem.code, f"{name} {problem.rule}", field)


def parse_target_value(value: Any, product: Product, field: str) -> float:
    """A true value of the target; raises BeaconError where it is no number, or not valid."""
    target = product.target
    problem = ValueRules(valid=target.valid, nullable=False).problem(value)
    if problem is not None:
        unit = f" {target.unit}" if problem.code == "out_of_valid_range" and target.unit else ""
        raise BeaconError(problem.code, f"value {problem.rule}{unit}", field)
    return float(value)


def unknown_features(names: Iterable[str], product: Product, field: str) -> BeaconError | None:
    """Return one BeaconError for all names below `field` that are not features; None where all are."""
    known = frozenset(product.feature_names)
    unknown = [name for name in dict.fromkeys(names) if name not in known]
    if not unknown:
        return None
    messages = [_unknown(name, product) for name in unknown[:MAX_NAMES_LISTED]]
    if len(unknown) > MAX_NAMES_LISTED:
        messages.append(f"and {len(unknown) - MAX_NAMES_LISTED} more")
    place = f"{field}.{unknown[0]}" if len(unknown) == 1 else field
    return BeaconError("unknown_feature", "; ".join(messages), place[:128])


def _unknown(name: str, product: Product) -> str:
    """The message on an unknown name: why it is none of the request, or the nearest name."""
    if name in product.excluded:
        return f"{name} is excluded: {product.excluded[name]}"
    if any(name == column.name for column in product.derived):
        return f"{name} is computed from other features"
    near = close_match(name, product.feature_names)
    return f"unknown feature {name[:64]}" + (f"; did you mean {near}?" if near else "")


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
