"""Keeps late rows out of the online store: what is served is always the newest by event time, as training joins it."""

from datetime import UTC

import pandas as pd
from feast import FeatureStore, FeatureView
from feast.infra.key_encoding_utils import deserialize_entity_key

from beacon_features.keys import key_encoder


def newest_only(store: FeatureStore, view: FeatureView, frame: pd.DataFrame) -> pd.DataFrame:
    """The newest row of each entity in `frame`, unless the online store has a newer one.

    Feast's Redis store sees to that itself, its SQLite store takes whatever comes last.
    """
    if view.batch_source is None:
        return frame
    event_time = view.batch_source.timestamp_field
    types = {column.name: column.dtype.to_value_type() for column in view.entity_columns}
    names = list(types)
    newest = frame.sort_values(event_time, kind="stable").drop_duplicates(names, keep="last")
    version = store.config.entity_key_serialization_version
    keys = key_encoder(types, version)([newest[name].tolist() for name in names], names)
    protos = [deserialize_entity_key(key, version) for key in keys]
    stored = store._get_provider().online_read(store.config, view, protos, [view.features[0].name])
    fresh = [
        time is None or row >= time.astimezone(UTC) for row, (time, _) in zip(newest[event_time], stored, strict=True)
    ]
    return newest[fresh]
