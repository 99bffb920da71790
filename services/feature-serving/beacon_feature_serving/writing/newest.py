"""Keeps late rows out of the online store: what is served is always the newest by event time, as training joins it.

Feast's Redis store does so between writes, but not within one; SQLite has a trigger for it
(`beacon_core.feature_store.online`); any other store keeps the row that was written last.
"""

from collections.abc import Sequence

import pandas as pd
from feast import FeatureView

from beacon_feature_serving.rows import FeatureRow


def newest_each(view: FeatureView, frame: pd.DataFrame) -> pd.DataFrame:
    """The newest row of each entity in `frame`."""
    keys = [column.name for column in view.entity_columns]
    return frame.sort_values(event_time(view), kind="stable").drop_duplicates(keys, keep="last")


def newer_than(view: FeatureView, frame: pd.DataFrame, stored: Sequence[FeatureRow | None]) -> pd.DataFrame:
    """The rows of `frame` that are as new as what is `stored` of their entities, or newer."""
    times = frame[event_time(view)].dt.as_unit("ns").astype("int64")
    return frame[[row is None or time >= row.event_time for time, row in zip(times, stored, strict=True)]]


def event_time(view: FeatureView) -> str:
    """Name of the column of event times."""
    if view.batch_source is None:
        raise ValueError(f"{view.name} has no source")
    return str(view.batch_source.timestamp_field)
