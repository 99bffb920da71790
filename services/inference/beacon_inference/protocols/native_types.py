"""The types of Beacon's own requests, made from product.yaml, for the parser and for the OpenAPI document.

Ranges and categories are in `extra_json_schema`, which the decoder ignores: validation checks them for every protocol,
and names the rule.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from beacon_core.domain import ids
from beacon_core.domain.integers import INT64
from beacon_core.domain.product import Feature, Product

# The types are made at run time, so that a type checker cannot know their fields.
Type = Any

CLIENT_ID = Meta(
    description="An id that the client makes.", extra_json_schema={"pattern": f"^{ids.CLIENT_ID.pattern}$"}
)
ClientId = Annotated[str | None, CLIENT_ID]


def closed(name: str, doc: str, fields: list[tuple[str, Type] | tuple[str, Type, Any]]) -> Type:
    """Make a Struct that accepts these fields and no other."""
    return msgspec.defstruct(
        name, fields, namespace={"__doc__": doc}, forbid_unknown_fields=True, frozen=True, gc=False
    )


def feature_type(feature: Feature) -> Type:
    """One feature: a number in its valid range or one of the categories, null where it is missing."""
    never = "" if feature.nullable else "; never imputed: the request or the feature store must know it"
    if feature.categories is not None:
        rule: dict[str, Any] = {"enum": [*feature.categories, None]}
    else:
        low, high = feature.valid or (0, 0)
        rule = {"type": ["integer" if feature.is_whole else "number", "null"], "minimum": low, "maximum": high}
    text = f"{feature.title} ({feature.unit}){never}"
    return Annotated[float | None, Meta(description=text, examples=[feature.example], extra_json_schema=rule)]


def entity_type(product: Product) -> Type:
    """The entity. `domain/integers.py` reads its key, and accepts 17.0 too."""
    rule = {"type": "integer", "minimum": INT64[0], "maximum": INT64[-1]}
    doc = (
        f"The {product.entity.name} whose features are looked up. A key written with a fraction or an exponent, such "
        "as 17.0, is taken below 2^53: larger ones may have been rounded."
    )
    return closed("Entity", doc, [(product.entity.key, Annotated[Any, Meta(extra_json_schema=rule)])])


def row_type(product: Product, entity: Type) -> Type:
    """The body of /v1/predict."""
    features = closed(
        "Features",
        "Absent or null: looked up, or imputed.",
        [(feature.name, feature_type(feature), None) for feature in product.features],
    )
    minimum = product.min_features
    return closed(
        "PredictRequest",
        f"Features, an entity, or both (the request's values win); at least {minimum} must be known.",
        [
            ("features", features | None, None),
            ("entity", entity | None, None),
            ("prediction_id", ClientId, None),
        ],
    )


def batch_type(row: Type, max_rows: int) -> Type:
    """The body of /v1/predict/batch."""
    count = {"minItems": 1, "maxItems": max_rows}
    return closed("BatchRequest", "Rows.", [("rows", Annotated[list[row], Meta(extra_json_schema=count)])])
