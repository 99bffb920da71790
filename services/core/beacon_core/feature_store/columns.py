"""Values of features as the feature store has them: the types of its columns, and the conversions to and from them.

| feature | Parquet | Feast | DataFrame |
| --- | --- | --- | --- |
| float, category of numbers | float64 | Float64 | float64 |
| int | int64 | Int64 | float64 |
| bool | bool | Bool | boolean |
| category of text | string | String | str |
| date | date32 | String | datetime64[us] |
| timestamp | timestamp[us, UTC] | String | datetime64[us, UTC] |
| key, int64 or text | int64 or string | Int64 or String | int64 or str |

Online, dates are ISO 8601 text, as in requests and answers: Feast's UnixTimestamp has whole seconds, and its server
shows them as numbers. A missing value is null offline, and an empty value online. Keys are never null.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import pandas as pd
import pyarrow as pa

from beacon_core.domain.integers import INT64
from beacon_core.domain.text import normal_text
from beacon_core.domain.times import read_date, read_time
from beacon_core.domain.value_rules import Value, ValueRuleError, ValueRules

TIME = pa.timestamp("us", tz="UTC")
TEXT = pa.string()
KEY_TYPES = {"int64": pa.int64(), "text": TEXT}
MICROSECONDS = pa.timestamp("us")
NUMBER = ValueRules()


def arrow_type(rules: ValueRules) -> pa.DataType:
    """The type of a feature's column in the offline store."""
    if rules.has_number_levels:
        return pa.float64()
    kinds = {
        "float": pa.float64(),
        "int": pa.int64(),
        "bool": pa.bool_(),
        "category": TEXT,
        "date": pa.date32(),
        "timestamp": TIME,
    }
    return kinds[rules.type]


def column_of(values: Sequence[object], rules: ValueRules, *, lenient: bool = False) -> pa.Array:
    """Values as files and clients have them, as a column; ranges and levels are not checked.

    Raises `ValueRuleError` for one of another type, which is null where `lenient`.
    """
    read = _READERS["float" if rules.has_number_levels else rules.type]

    def convert(value: object) -> object:
        try:
            return None if value is None else read(value, rules)
        except ValueRuleError:
            if lenient:
                return None
            raise

    return pa.array([convert(value) for value in values], arrow_type(rules))


def shown_values(column: pa.ChunkedArray | pa.Array) -> list[Value | None]:
    """The column's values as clients have them: dates and timestamps are ISO 8601."""
    values = column.to_pylist()
    return list(map(_iso, values)) if pa.types.is_temporal(column.type) else values


def cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """The column with another type; dates and timestamps become text as clients have them, for a key may be one.

    A timestamp without a zone is a DataFrame's date.
    """
    if kind != TEXT or not pa.types.is_temporal(column.type):
        return column.cast(kind)
    if pa.types.is_timestamp(column.type) and not column.type.tz:
        column = column.cast(pa.date32(), safe=False)
    return pa.chunked_array([pa.array(shown_values(column), TEXT)])


def aligned(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with the columns of `schema`; null where it lacks one, or has one that cannot be converted."""
    columns = [_aligned(table, field) for field in schema]
    return pa.table(columns, schema=schema)


def to_table(frame: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    """A DataFrame as a table of `schema`, whose columns it has; NaN is null."""
    return pa.table([_from_pandas(frame[field.name], field.type) for field in schema], schema=schema)


def to_frame(table: pa.Table, keys: Sequence[str] = ()) -> pd.DataFrame:
    """A table as a DataFrame; the columns `keys` keep their int64."""
    return pd.DataFrame({name: _to_pandas(table[name], exact=name in keys) for name in table.column_names})


def schema_of(types: Mapping[str, pa.DataType]) -> pa.Schema:
    """A schema of nullable columns."""
    return pa.schema(list(types.items()))


def _float(value: object, _rules: ValueRules) -> float:
    return NUMBER.to_number(value)


def _whole(value: object, rules: ValueRules) -> int:
    number = rules.to_number(value)
    whole = value if isinstance(value, int) else int(number)
    if whole not in INT64 or (isinstance(value, float) and whole != value):
        raise ValueRuleError("invalid_type", "must be a whole number of 64 bits")
    return whole


def _flag(value: object, rules: ValueRules) -> bool:
    return bool(rules.to_number(value))


def _text(value: object, rules: ValueRules) -> str:
    if not isinstance(value, str):
        rules.to_number(value)  # which raises the error
    return normal_text(str(value))


def _date(value: object, rules: ValueRules) -> date:
    rules.to_number(value)
    return read_date(str(value))


def _timestamp(value: object, rules: ValueRules) -> datetime:
    rules.to_number(value)
    return read_time(value)


_READERS: dict[str, Callable[[object, ValueRules], object]] = {
    "float": _float,
    "int": _whole,
    "bool": _flag,
    "category": _text,
    "date": _date,
    "timestamp": _timestamp,
}


def _iso(value: date | datetime | None) -> str | None:
    return None if value is None else value.isoformat().replace("+00:00", "Z")


def _aligned(table: pa.Table, field: pa.Field) -> pa.ChunkedArray:
    if field.name in table.column_names:
        column = table[field.name]
        if column.type == field.type:
            return column
        try:
            return column.cast(field.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            pass
    return pa.chunked_array([pa.nulls(len(table), field.type)])


def _from_pandas(values: pd.Series, kind: pa.DataType) -> pa.ChunkedArray:
    array = pa.array(values, from_pandas=True)
    chunked = array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])
    if pa.types.is_null(chunked.type) or chunked.type == kind:
        return chunked.cast(kind)
    if pa.types.is_timestamp(chunked.type) and not chunked.type.tz and pa.types.is_timestamp(kind):
        return chunked.cast(MICROSECONDS, safe=False).cast(kind)
    if kind == TEXT:
        return cast(chunked, kind)
    # Times of the file have microseconds, and pandas may hold them in nanoseconds.
    return chunked.cast(kind, safe=not pa.types.is_timestamp(chunked.type))


def _to_pandas(column: pa.ChunkedArray, *, exact: bool) -> Any:
    kind = column.type
    if pa.types.is_integer(kind) and not (exact and not column.null_count):
        return column.cast(pa.float64(), safe=False).to_numpy() if not exact else column.to_pandas(types_mapper=_EXACT)
    if pa.types.is_boolean(kind):
        return column.to_pandas(types_mapper=_EXACT)
    if pa.types.is_date(kind):
        return column.cast(MICROSECONDS).to_pandas()
    return column.to_pandas()


_EXACT = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}.get
