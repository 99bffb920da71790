"""From the columns of a write to the frame that Feast takes; each rule names the column and row that broke it."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
from feast import FeatureView, Field
from feast.types import Float32, Float64, Int32, Int64

from beacon_features.keys import check_keys
from beacon_features.refusal import RefusedError, refused
from feature_repo.definitions import is_required

# A clock may run a little ahead of ours. A row from the future would be served as fresh for ever, and hide later ones.
MOST_AHEAD = timedelta(minutes=5)
NUMBERS = (Float32, Float64, Int32, Int64)


def to_frame(view: FeatureView, columns: dict[str, Any], now: datetime, most_rows: int) -> pd.DataFrame:
    """Check the columns against the view and build the frame, times in UTC; raises `RefusedError`.

    Needed are the join keys, every feature (null for a missing value, where the feature is nullable) and the event
    time; `created` is `now` if absent.
    """
    source = view.batch_source
    if source is None:
        raise refused("invalid_body", f"{view.name} has no source", "feature_view_name")
    event_time, created = source.timestamp_field, source.created_timestamp_column or ""
    keys = {column.name: column.dtype.to_value_type() for column in view.entity_columns}
    features = {feature.name: feature for feature in view.features}
    _check_columns([*keys, *features, event_time], [created], columns, most_rows)
    for name, kind in keys.items():
        check_keys(columns[name], kind, name)
    for name, feature in features.items():
        _check_feature(feature, columns[name])
    if not any(value is not None for name in features for value in columns[name]):
        raise refused("invalid_body", "no feature has a value", "df")
    times = [_time(event_time, row, value) for row, value in enumerate(columns[event_time])]
    for row, time in enumerate(times):
        if time > now + MOST_AHEAD:
            raise _broken(event_time, row, "lies in the future")
    given = columns.get(created) or [None] * len(times)
    arrived = [now if value is None else _time(created, row, value) for row, value in enumerate(given)]
    data = {name: columns[name] for name in keys}
    data[event_time] = pd.to_datetime(times, utc=True)
    if created:
        data[created] = pd.to_datetime(arrived, utc=True)
    for name, feature in features.items():
        data[name] = pd.Series(columns[name], dtype="float64" if feature.dtype in NUMBERS else "object")
    return pd.DataFrame(data)


def _check_columns(needed: Sequence[str], optional: Sequence[str], columns: dict[str, Any], most_rows: int) -> None:
    for name in needed:
        if name not in columns:
            raise refused("invalid_body", f"df: the column {name} is missing", f"df.{name}")
    for name, column in columns.items():
        if name not in needed and name not in optional:
            raise refused("unknown_feature", f"df: unknown column {name}", f"df.{name}")
        if not isinstance(column, list):
            raise refused("invalid_type", f"df: {name} must be a list", f"df.{name}")
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        raise refused("invalid_shape", "df: all columns must have the same length", "df")
    length = lengths.pop()
    if not 1 <= length <= most_rows:
        raise refused("batch_too_large" if length else "invalid_body", f"df: {length} rows; 1 to {most_rows}", "df")


def _check_feature(feature: Field, column: Sequence[Any]) -> None:
    if is_required(feature) and None in column:
        raise _broken(feature.name, column.index(None), "must not be null")
    if feature.dtype not in NUMBERS:
        return
    for row, value in enumerate(column):
        if value is None:
            continue
        if type(value) not in {int, float}:
            raise _broken(feature.name, row, "must be a number or null")
        if not math.isfinite(value):
            raise _broken(feature.name, row, "must be finite")


def _time(name: str, row: int, value: Any) -> datetime:
    """An aware time; one without a zone is UTC, as Feast's clients send it."""
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise _broken(name, row, "must be a time in ISO 8601") from error
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _broken(name: str, row: int, rule: str) -> RefusedError:
    return refused("invalid_type", f"df: {name}[{row}]: {rule}", f"df.{name}[{row}]")
