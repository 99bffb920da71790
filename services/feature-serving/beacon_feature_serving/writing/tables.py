"""From the columns of a write to the table that the stores take; each rule names the column and row that broke it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from feast import FeatureView, ValueType
from feast.types import Float32, Float64, Int32, Int64

from beacon_core.domain.times import error_code, read_past_time
from beacon_core.domain.value_rules import ValueRuleError, ValueRules
from beacon_core.feature_store.columns import TIME, column_of
from beacon_core.feature_store.stored_view import StoredView, rules_of, stored_view
from beacon_feature_serving.catalog.keys import check_keys
from beacon_feature_serving.errors import FeastResponseError, feast_error

NUMBERS = (Float32, Float64, Int32, Int64)


def to_table(view: FeatureView, columns: dict[str, Any], now: datetime, most_rows: int) -> pa.Table:
    """Check the columns against the view and build the table, times in UTC; raises `FeastResponseError`.

    Needed are the join keys, every feature (null for a missing value, where the feature is nullable) and the event
    time; `created` is `now` if absent. Lags are computed, never written.
    """
    if view.batch_source is None:
        raise feast_error("invalid_body", f"{view.name} has no source", "feature_view_name")
    stored = stored_view(view)
    _check_columns(stored, columns, most_rows)
    kinds = {column.name: column.dtype.to_value_type() for column in view.entity_columns}
    data = {name: _key(columns[name], kinds[name], name, stored) for name in stored.keys}
    rules = {field.name: rules_of(view).get(field.name) for field in view.features}
    numbers = {field.name for field in view.features if field.dtype in NUMBERS}
    features = {name: _feature(name, columns[name], rules[name], name in numbers, stored) for name in stored.given}
    if not any(column.null_count < len(column) for column in features.values()):
        raise feast_error("invalid_body", "no feature has a value", "df")
    # A row from the future would be served as fresh for ever, and hide later ones.
    event_time, created = stored.event_time, stored.created
    times = [_time(event_time, row, value, now) for row, value in enumerate(columns[event_time])]
    data[event_time] = pa.array(times, TIME)
    if created:
        given = columns.get(created) or [None] * len(times)
        # Nothing has arrived later than now, whatever the sender's clock says.
        arrived = [
            now if value is None else min(now, _time(created, row, value, now)) for row, value in enumerate(given)
        ]
        data[created] = pa.array(arrived, TIME)
    return pa.table(data | features)


def _check_columns(view: StoredView, columns: dict[str, Any], most_rows: int) -> None:
    needed = [*view.keys, *view.given, view.event_time]
    for name in needed:
        if name not in columns:
            raise feast_error("invalid_body", f"df: the column {name} is missing", f"df.{name}")
    for name, column in columns.items():
        if name in view.lags:
            rule = f"df: {name} is computed from {view.lags[name].lag}: leave it out"
            raise feast_error("unknown_feature", rule, f"df.{name}")
        if name not in needed and name != view.created:
            raise feast_error("unknown_feature", f"df: unknown column {name}", f"df.{name}")
        if not isinstance(column, list):
            raise feast_error("invalid_type", f"df: {name} must be a list", f"df.{name}")
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        raise feast_error("invalid_shape", "df: all columns must have the same length", "df")
    length = lengths.pop()
    if not 1 <= length <= most_rows:
        raise feast_error("batch_too_large" if length else "invalid_body", f"df: {length} rows; 1 to {most_rows}", "df")


def _key(column: Sequence[Any], kind: ValueType, name: str, view: StoredView) -> pa.Array:
    return pa.array(check_keys(column, kind, name), view.schema.field(name).type)


def _feature(name: str, column: Sequence[Any], rules: ValueRules | None, is_number: bool, view: StoredView) -> pa.Array:
    """Refuse the first value that breaks a rule; a feature without rules of its own needs finite numbers or nulls."""
    wanted = view.schema.field(name).type
    if rules is None and not is_number:
        return _converted(name, column, wanted)
    rules = rules or ValueRules()
    for row, value in enumerate(column):
        if problem := rules.problem(value):
            raise _broken(problem.code, name, row, problem.rule)
        try:
            column_of([value], rules)
        except ValueRuleError as error:  # more than its type can hold
            raise _broken(error.problem.code, name, row, error.problem.rule) from error
    return column_of(column, rules).cast(wanted)


def _converted(name: str, column: Sequence[Any], wanted: pa.DataType) -> pa.Array:
    try:
        return pa.array(column, wanted)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise feast_error("invalid_type", f"df: {name} must hold values of the type {wanted}", f"df.{name}") from error


def _time(name: str, row: int, value: Any, now: datetime) -> datetime:
    """A time without a zone is UTC, as Feast's clients send it."""
    try:
        return read_past_time(value, now, UTC)
    except ValueError as error:
        raise _broken(error_code(error), name, row, str(error)) from error


def _broken(code: str, name: str, row: int, rule: str) -> FeastResponseError:
    return feast_error(code, f"df: {name}[{row}]: {rule}", f"df.{name}[{row}]")
