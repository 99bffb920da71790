"""Feast's objects, built from product.yaml.

The names contain the schema version. So while one version replaces another both are served: the old model reads its
own view, the new model the new one.

A feature that is also a column of the key is no feature of the view: every answer has the key's columns already.
"""

from datetime import timedelta

import msgspec
import pyarrow as pa
from feast import Entity, FeatureService, FeatureView, Field, FileSource, PushSource
from feast.feast_object import FeastObject
from feast.types import Bool, Float64, Int64, PrimitiveFeastType, String
from feast.value_type import ValueType

from beacon_core.domain.product import Feature, Product
from beacon_core.domain.product_entry import NOW
from beacon_core.feature_store.columns import arrow_type
from beacon_core.feature_store.errors import FeatureStoreError
from beacon_core.feature_store.names import CREATED_TIME, EVENT_TIME
from beacon_core.feature_store.stored_view import ARRIVALS, LAGS, RULES, UNDATED

FEAST_TYPES: dict[pa.DataType, PrimitiveFeastType] = {pa.float64(): Float64, pa.int64(): Int64, pa.bool_(): Bool}
"""Feast's types of the offline columns; all others are text online."""
KEY_TYPES = {"int64": (ValueType.INT64, Int64), "text": (ValueType.STRING, String)}


def view_name(product: Product) -> str:
    """Name of the feature view that serves this schema version; raises `FeatureStoreError` without an entity."""
    if product.entity is None:
        raise FeatureStoreError(f"{product.name} has no entity: there are no features to look up")
    return f"{product.entity.name}_features_v{product.schema_version}"


def push_source_name(product: Product) -> str:
    """Name of the push source that feeds the view."""
    return f"{view_name(product)}_push"


def view_features(product: Product) -> list[Feature]:
    """The features of the view: all but those that are columns of the key."""
    return [feature for feature in product.features if feature.name not in product.keys]


def build(product: Product, data: str) -> list[FeastObject]:
    """Entities (one per column of the key), sources, feature view and feature service over the Parquet file at `data`.

    Raises `FeatureStoreError` without an entity.
    """
    name, features = view_name(product), view_features(product)
    entities = _entities(product)
    rows = FileSource(
        name=f"{name}_file",
        path=data,
        timestamp_field=EVENT_TIME,
        created_timestamp_column=CREATED_TIME,
    )
    pushed = PushSource(name=push_source_name(product), batch_source=rows)
    view = FeatureView(
        name=name,
        entities=entities,
        ttl=timedelta(days=product.features_ttl_days),
        schema=[*_key_fields(product), *map(_field, features)],
        source=pushed,
        online=True,
        tags=_tags(product, features),
    )
    service = FeatureService(name=product.feature_service, features=[view])
    return [*entities, rows, pushed, view, service]


def _entities(product: Product) -> list[Entity]:
    """Feast's entities, each with one join key. Text keys have names of their own: a type must not change."""
    entity = product.entity
    if entity is None:
        return []
    single = len(entity.columns) == 1
    return [
        Entity(
            name=(entity.name if single else f"{entity.name}_{key}") + ("" if kind == "int64" else "_text"),
            join_keys=[key],
            value_type=KEY_TYPES[kind][0],
            description=f"{product.title}: one {entity.name}",
        )
        for key, kind in entity.columns
    ]


def _key_fields(product: Product) -> list[Field]:
    columns = product.entity.columns if product.entity else ()
    return [Field(name=key, dtype=KEY_TYPES[kind][1]) for key, kind in columns]


def _field(feature: Feature) -> Field:
    dtype = FEAST_TYPES.get(arrow_type(feature), String)
    return Field(name=feature.name, dtype=dtype, description=f"{feature.title} ({feature.unit})")


def _tags(product: Product, features: list[Feature]) -> dict[str, str]:
    rules = {feature.name: feature.rules for feature in features}
    lags = {feature.name: feature.lag for feature in features if feature.lag is not None}
    tags = {RULES: msgspec.json.encode(rules).decode()}
    if lags:
        tags[LAGS] = msgspec.json.encode(lags).decode()
    if product.time.event is None:
        tags[UNDATED] = "true"
    if product.time.created != NOW:
        tags[ARRIVALS] = "true"
    return tags
