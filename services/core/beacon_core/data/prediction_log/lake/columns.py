"""The columns of the lake's table: those of every prediction, and one per feature and kind of value.

A feature's column is named by kind and feature: `number_RM`, `text_colour`, `flag_new`. So a product whose feature
changes its type gets another column, and no file is ever rewritten for it. Numbers are doubles, as in the matrix of
the model; a feature that had no value is null.
"""

from collections.abc import Iterable
from typing import Literal

import pyarrow as pa
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.sorting import SortField, SortOrder
from pyiceberg.transforms import DayTransform, IdentityTransform
from pyiceberg.types import (
    BooleanType,
    DoubleType,
    IcebergType,
    ListType,
    NestedField,
    StringType,
    TimestamptzType,
)

from beacon_core.domain.value_rules import ValueRules

Kind = Literal["number", "text", "flag"]
KINDS: dict[Kind, IcebergType] = {"number": DoubleType(), "text": StringType(), "flag": BooleanType()}
TEXT = pa.large_string()
TIME = pa.timestamp("us", tz="UTC")
NAMES = pa.large_list(TEXT)
ARROW_KINDS: dict[Kind, pa.DataType] = {"number": pa.float64(), "text": TEXT, "flag": pa.bool_()}

REQUIRED: dict[str, IcebergType] = {
    "id": StringType(),
    "time": TimestamptzType(),
    "prediction": DoubleType(),
    "low": DoubleType(),
    "high": DoubleType(),
    "model_version": StringType(),
    "model_sha256": StringType(),
    "latency_seconds": DoubleType(),
    "request_id": StringType(),
    "logged_at": TimestamptzType(),
}
OPTIONAL: dict[str, IcebergType] = {
    "entity": StringType(),
    "shadow_version": StringType(),
    "shadow_prediction": DoubleType(),
    "trace_id": StringType(),
    "input_digest": StringType(),
    "client": StringType(),
}
LISTS = ("from_store", "imputed", "out_of_range")
"""Names of features, as `beacon_core.data.tables` describes them."""
FIXED = frozenset((*REQUIRED, *OPTIONAL, *LISTS))
FIRST_LIST_ID = len(REQUIRED) + len(OPTIONAL) + 1

SCHEMA = Schema(
    *[NestedField(at, name, kind, required=True) for at, (name, kind) in enumerate(REQUIRED.items(), 1)],
    *[NestedField(at, name, kind) for at, (name, kind) in enumerate(OPTIONAL.items(), len(REQUIRED) + 1)],
    *[
        NestedField(at, name, ListType(at + 1, StringType(), element_required=True))
        for at, name in zip(range(FIRST_LIST_ID, FIRST_LIST_ID + 2 * len(LISTS), 2), LISTS, strict=True)
    ],
)
TIME_ID = SCHEMA.find_field("time").field_id
BY_DAY = PartitionSpec(PartitionField(TIME_ID, 1000, DayTransform(), "time_day"))
BY_TIME = SortOrder(SortField(TIME_ID, IdentityTransform()), SortField(SCHEMA.find_field("id").field_id))


def kind_of(rules: ValueRules) -> Kind:
    """The kind of a feature's values, by the product."""
    if rules.type == "bool":
        return "flag"
    return "text" if rules.is_text else "number"


def column_of(kind: Kind, feature: str) -> str:
    """The column of a feature's values of a kind."""
    return f"{kind}_{feature}"


def feature_of(column: str) -> tuple[Kind, str] | None:
    """The kind and the feature of a column; None for one that every prediction has."""
    if column in FIXED:
        return None
    kind, _, feature = column.partition("_")
    return (kind, feature) if kind in KINDS else None


def type_of(column: str) -> IcebergType:
    """The type of a feature's column."""
    found = feature_of(column)
    assert found is not None  # noqa: S101 - only columns of features are added
    return KINDS[found[0]]


def missing(schema: Schema, wanted: Iterable[str]) -> list[str]:
    """Those of the columns that a table has not yet."""
    there = set(names_of(schema))
    return [name for name in wanted if name not in there]


def names_of(schema: Schema) -> list[str]:
    """The table's columns; Iceberg's own list has the elements of lists among them."""
    return [field.name for field in schema.fields]
