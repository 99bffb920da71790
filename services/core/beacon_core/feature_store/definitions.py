"""Feast's objects, built from product.yaml.

The names contain the schema version. So while one version replaces another both are served: the old model reads its
own view, the new model the new one.
"""

from datetime import timedelta
from pathlib import Path

import msgspec
from feast import Entity, FeatureService, FeatureView, Field, FileSource, PushSource
from feast.feast_object import FeastObject
from feast.types import Float64, Int64
from feast.value_type import ValueType

from beacon_core.domain.product import Product
from beacon_core.domain.value_rules import ValueRules
from beacon_core.feature_store.names import CREATED_TIME, EVENT_TIME

# Feast's types know neither ranges nor `not null`: the view carries product.yaml's rules into the registry in this tag.
RULES = "rules"


def view_name(product: Product) -> str:
    """Name of the feature view that serves this schema version."""
    return f"{product.entity.name}_features_v{product.schema_version}"


def push_source_name(product: Product) -> str:
    """Name of the push source that feeds the view."""
    return f"{view_name(product)}_push"


def rules_of(view: FeatureView) -> dict[str, ValueRules]:
    """The rules of the view's features, by name; empty for a view without rules."""
    return msgspec.json.decode(view.tags.get(RULES, "{}"), type=dict[str, ValueRules])


def build(product: Product, data: Path) -> list[FeastObject]:
    """Entity, sources, feature view and feature service over the Parquet file `data`.

    All features are Float64: a missing value is NaN offline, and categories are whole numbers.
    """
    entity = Entity(
        name=product.entity.name,
        join_keys=[product.entity.key],
        value_type=ValueType.INT64,
        description=f"{product.title}: one {product.entity.name}",
    )
    rows = FileSource(
        name=f"{view_name(product)}_file",
        path=str(data),
        timestamp_field=EVENT_TIME,
        created_timestamp_column=CREATED_TIME,
    )
    pushed = PushSource(name=push_source_name(product), batch_source=rows)
    view = FeatureView(
        name=view_name(product),
        entities=[entity],
        ttl=timedelta(days=product.features_ttl_days),
        schema=[
            Field(name=product.entity.key, dtype=Int64),
            *(
                Field(
                    name=feature.name,
                    dtype=Float64,
                    description=f"{feature.title} ({feature.unit})",
                )
                for feature in product.features
            ),
        ],
        source=pushed,
        online=True,
        tags={RULES: msgspec.json.encode({feature.name: feature.rules for feature in product.features}).decode()},
    )
    service = FeatureService(name=product.feature_service, features=[view])
    return [entity, rows, pushed, view, service]
