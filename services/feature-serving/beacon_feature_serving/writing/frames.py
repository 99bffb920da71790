"""From the columns of a write to the frame that Feast takes; each rule names the column and row that broke it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from feast import FeatureView, Field
from feast.types import Float32, Float64, Int32, Int64

from beacon_core.domain.times import error_code, read_past_time
from beacon_core.domain.value_rules import ValueRules
from beacon_core.feature_store.definitions import rules_of
from beacon_feature_serving.catalog.keys import check_keys
from beacon_feature_serving.errors import FeastResponseError, feast_error

NUMBERS = (Float32, Float64, Int32, Int64)


def to_frame(view: FeatureView, columns: dict[str, Any], now: datetime, most_rows: int) -> pd.DataFrame:
    """Check the columns against the view and build the frame, times in UTC; raises `FeastResponseError`.

    Needed are the join keys, every feature (null for a missing value, where the feature is nullable) and the event
    time; `created` is `now` if absent.
    """
    source = view.batch_source
    if source is None:
        raise feast_error("invalid_body", f"{view.name} has no source", "feature_view_name")
    event_time, created = source.timestamp_field, source.created_timestamp_column or ""
    keys = {column.name: column.dtype.to_value_type() for column in view.entity_columns}
    features = {feature.name: feature for feature in view.features}
    _check_columns([*keys, *features, event_time], [created], columns, most_rows)
    for name, kind in keys.items():
        check_keys(columns[name], kind, name)
    rules = rules_of(view)
    for name, feature in features.items():
        _check_feature(feature, rules.get(name), columns[name])
    if not any(value is not None for name in features for value in columns[name]):
        raise feast_error("invalid_body", "no feature has a value", "df")
    # A row from the future would be served as fresh for ever, and hide later ones.
    times = [_time(event_time, row, value, now) for row, value in enumerate(columns[event_time])]
    given = columns.get(created) or [None] * len(times)
    # Nothing has arrived later than now, whatever the sender's clock says.
    arrived = [now if value is None else min(now, _time(created, row, value, now)) for row, value in enumerate(given)]
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
            raise feast_error("invalid_body", f"df: the column {name} is missing", f"df.{name}")
    for name, column in columns.items():
        if name not in needed and name not in optional:
            raise feast_error("unknown_feature", f"df: unknown column {name}", f"df.{name}")
        if not isinstance(column, list):
            raise feast_error("invalid_type", f"df: {name} must be a list", f"df.{name}")
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        raise feast_error("invalid_shape", "df: all columns must have the same length", "df")
    length = lengths.pop()
    if not 1 <= length <= most_rows:
        raise feast_error("batch_too_large" if length else "invalid_body", f"df: {length} rows; 1 to {most_rows}", "df")


def _check_feature(feature: Field, rules: ValueRules | None, column: Sequence[Any]) -> None:
    """Refuse the first value that breaks a rule; a feature without rules of its own needs finite numbers or nulls."""
    if rules is None and feature.dtype not in NUMBERS:
        return
    rules = rules or ValueRules()
    for row, value in enumerate(column):
        if problem := rules.problem(value):
            raise _broken(problem.code, feature.name, row, problem.rule)


def _time(name: str, row: int, value: Any, now: datetime) -> datetime:
    """A time without a zone is UTC, as Feast's clients send it."""
    try:
        return read_past_time(value, now, UTC)
    except ValueError as error:
        raise _broken(error_code(error), name, row, str(error)) from error


def _broken(code: str, name: str, row: int, rule: str) -> FeastResponseError:
    return feast_error(code, f"df: {name}[{row}]: {rule}", f"df.{name}[{row}]")
