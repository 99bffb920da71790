"""The types of Beacon's own requests, made from product.yaml, for the parser and for the OpenAPI document.

Ranges and categories are in `extra_json_schema`, which the decoder ignores: validation checks them for every protocol,
and names the rule.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from beacon_core.domain import ids
from beacon_core.domain.entity_key import MOST_CHARACTERS as MOST_KEY_CHARACTERS
from beacon_core.domain.integers import INT64
from beacon_core.domain.product import Feature, Product
from beacon_core.domain.value_rules import MOST_CHARACTERS

# The types are made at run time, so that a type checker cannot know their fields.
Type = Any

CLIENT_ID = Meta(
    description="An id that the client makes.", extra_json_schema={"pattern": f"^{ids.CLIENT_ID.pattern}$"}
)
ClientId = Annotated[str | None, CLIENT_ID]


def closed(name: str, doc: str, fields: Sequence[tuple[str, Type] | tuple[str, Type, Any]]) -> Type:
    """Make a Struct that accepts these fields and no other; a field may have any name, such as `unit price`."""
    named = [(f"f{position}", *field[1:]) for position, field in enumerate(fields)]
    rename = {f"f{position}": field[0] for position, field in enumerate(fields)}
    return msgspec.defstruct(
        name, named, namespace={"__doc__": doc}, rename=rename, forbid_unknown_fields=True, frozen=True, gc=False
    )


def json_type(feature: Feature) -> Type:
    """The type of a feature's values in JSON: a number, true or false (or 1 and 0), text."""
    if feature.is_text:
        return str | None
    return bool | float | None if feature.type == "bool" else float | None


def value_schema(feature: Feature) -> dict[str, Any]:
    """The JSON schema of one feature's values, null where it is missing."""
    if feature.type == "bool":
        return {"enum": [False, True, 0, 1, None]}
    if feature.known_levels and feature.other is None:
        return {"enum": [*feature.known_levels, None]}
    if feature.is_time:
        return {"type": ["string", "null"], "format": "date" if feature.type == "date" else "date-time"}
    if feature.is_text:
        return {"type": ["string", "null"], "maxLength": MOST_CHARACTERS}
    low, high = feature.bounds
    ends = {"minimum": low, "maximum": high}
    finite = {name: _plain(end) for name, end in ends.items() if math.isfinite(end)}
    return {"type": ["integer" if feature.is_whole else "number", "null"], **finite}


def feature_type(feature: Feature) -> Type:
    """One feature: its values as JSON has them, with the rules that a JSON schema can state."""
    text = feature.title + (f" ({feature.unit})" if feature.unit else "")
    if feature.is_time and feature.valid is not None:
        text += f"; {feature.valid_text()}"
    if feature.known_levels and feature.other is not None:
        text += f"; known are {', '.join(map(str, feature.known_levels))}, and any other text is taken"
    if not feature.nullable:
        text += "; never imputed: the request or the feature store must know it"
    meta = Meta(description=text, examples=[feature.example], extra_json_schema=value_schema(feature))
    return Annotated[json_type(feature), meta]


def entity_type(product: Product) -> Type:
    """The entity; null where the product has none. `domain/entity_key.py` reads its key, and accepts 17.0 too."""
    if product.entity is None:
        return None
    number = {"type": "integer", "minimum": INT64[0], "maximum": INT64[-1]}
    text = {"type": "string", "minLength": 1, "maxLength": MOST_KEY_CHARACTERS}
    doc = f"The {product.entity.name} whose features are looked up."
    if any(kind == "int64" for _, kind in product.entity.columns):
        doc += (
            " A whole number written with a fraction or an exponent, such as 17.0, is taken below 2^53: larger ones "
            "may have been rounded."
        )
    rules = {name: Meta(extra_json_schema=number if kind == "int64" else text) for name, kind in product.entity.columns}
    return closed("Entity", doc, [(name, Annotated[Any, rule]) for name, rule in rules.items()])


def row_type(product: Product, entity: Type) -> Type:
    """The body of /v1/predict."""
    features = closed(
        "Features",
        "Absent or null: looked up, or imputed.",
        [(feature.name, feature_type(feature), None) for feature in product.features],
    )
    what = "Features, an entity, or both (the request's values win)" if product.entity else "Features"
    return msgspec.defstruct(
        "PredictRequest",
        [
            ("features", features | None, None),
            ("entity", None if entity is None else entity | None, None),
            ("prediction_id", ClientId, None),
        ],
        namespace={"__doc__": f"{what}; at least {product.min_features} must be known."},
        forbid_unknown_fields=True,
        frozen=True,
        gc=False,
    )


def batch_type(row: Type, max_rows: int) -> Type:
    """The body of /v1/predict/batch."""
    count = {"minItems": 1, "maxItems": max_rows}
    rows = Annotated[list[row], Meta(extra_json_schema=count)]
    return msgspec.defstruct(
        "BatchRequest", [("rows", rows)], namespace={"__doc__": "Rows."}, forbid_unknown_fields=True, gc=False
    )


def _plain(number: float) -> float:
    """Write 4, not 4.0: it is read by people."""
    return int(number) if number.is_integer() else number
