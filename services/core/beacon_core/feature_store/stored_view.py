"""A feature view as Beacon's stores use it: its columns by type, its lags, and the rules in its tags."""

from datetime import timedelta
from typing import NamedTuple

import msgspec
import pyarrow as pa
from feast import FeatureView
from feast.type_map import feast_value_type_to_pa

from beacon_core.domain.derived import Lag
from beacon_core.domain.value_rules import ValueRules
from beacon_core.feature_store.columns import TIME, arrow_type

RULES, LAGS, UNDATED, ARRIVALS = "rules", "lags", "undated", "arrivals"
"""Tags of a view. Feast's types know neither ranges nor `not null`, nor lags, nor rows without a time of their own."""


class StoredView(NamedTuple):
    """`schema` has the columns of its offline file; `features` are all of its features, `lags` those computed of them.

    `undated`: rows at the base time have no time of their own, so they do not age. `has_arrivals`: a
    column of the table says when each row arrived, so a figure of the past leaves out what came later.
    """

    name: str
    keys: tuple[str, ...]
    event_time: str
    created: str
    features: tuple[str, ...]
    schema: pa.Schema
    lags: dict[str, Lag]
    ttl: timedelta | None
    undated: bool
    has_arrivals: bool

    @property
    def given(self) -> tuple[str, ...]:
        """The features that rows bring with them."""
        return tuple(name for name in self.features if name not in self.lags)


def rules_of(view: FeatureView) -> dict[str, ValueRules]:
    """The rules of the view's features, by name; empty for a view without rules."""
    return msgspec.json.decode(view.tags.get(RULES, "{}"), type=dict[str, ValueRules])


def stored_view(view: FeatureView) -> StoredView:
    """Read the view; raises TypeError for one without a source."""
    source = view.batch_source
    if source is None:
        raise TypeError(f"{view.name} has no source")
    rules = rules_of(view)
    lags = msgspec.json.decode(view.tags.get(LAGS, "{}"), type=dict[str, Lag])
    created = source.created_timestamp_column or ""
    columns = {key.name: feast_value_type_to_pa(key.dtype.to_value_type()) for key in view.entity_columns}
    keys = tuple(columns)
    columns |= dict.fromkeys(filter(None, (source.timestamp_field, created)), TIME)
    for field in view.features:
        if field.name not in lags:
            rule = rules.get(field.name)
            columns[field.name] = arrow_type(rule) if rule else feast_value_type_to_pa(field.dtype.to_value_type())
    for lag in lags.values():  # of the target
        columns.setdefault(lag.lag, pa.float64())
    return StoredView(
        name=view.name,
        keys=keys,
        event_time=source.timestamp_field,
        created=created,
        features=tuple(field.name for field in view.features),
        schema=pa.schema(list(columns.items())),
        lags=lags,
        ttl=view.ttl or None,
        undated=UNDATED in view.tags,
        has_arrivals=ARRIVALS in view.tags,
    )
