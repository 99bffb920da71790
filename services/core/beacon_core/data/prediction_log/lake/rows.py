"""Rows of the lake as the port has them, and which columns and rows a question needs."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.schema import Schema

from beacon_core.data.prediction_log.lake.columns import TEXT, TIME, feature_of, names_of
from beacon_core.data.prediction_log.port import LoggedPrediction, LogSlice

FEATURES = "features"


def stored(schema: Schema, columns: Sequence[str]) -> list[str]:
    """The columns of the table that hold those of the port."""
    of_features = [name for name in names_of(schema) if feature_of(name)] if FEATURES in columns else []
    return [*(name for name in columns if name != FEATURES), *of_features]


def tuples(table: pa.Table, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    """The rows, with those columns of the port."""
    lists = [_features(table) if name == FEATURES else table[name].to_pylist() for name in columns]
    return list(zip(*lists, strict=True))


def predictions(table: pa.Table) -> list[LoggedPrediction]:
    """The whole rows."""
    return [LoggedPrediction(*row) for row in tuples(table, LoggedPrediction._fields)]


def needed_by(rows: LogSlice) -> list[str]:
    """The columns that `matching` looks at."""
    needed = []
    if rows.evidence.clients != "all":
        needed.append("client")
    if rows.model_version is not None:
        needed.append("model_version")
    if rows.logged_since is not None:
        needed.append("logged_at")
    if rows.looked_up:
        needed += ["from_store", "entity"]
    return needed


def matching(table: pa.Table, rows: LogSlice) -> pa.ChunkedArray | None:
    """Which rows of a table are in the slice; None for all of them."""
    conditions = []
    if rows.since is not None:
        conditions.append(pc.greater_equal(table["time"], pa.scalar(rows.since, TIME)))
    if rows.until is not None:
        conditions.append(pc.less(table["time"], pa.scalar(rows.until, TIME)))
    clients = rows.evidence.clients
    if clients == "keyed":
        conditions.append(pc.is_valid(table["client"]))
    elif clients != "all":
        conditions.append(pc.is_in(table["client"], pa.array(clients, TEXT)))
    if rows.model_version is not None:
        conditions.append(pc.equal(table["model_version"], pa.scalar(rows.model_version, TEXT)))
    if rows.logged_since is not None:
        conditions.append(pc.greater_equal(table["logged_at"], pa.scalar(rows.logged_since, TIME)))
    if rows.looked_up:
        conditions += [pc.is_valid(table["from_store"]), pc.is_valid(table["entity"])]
    found = None
    for condition in conditions:
        found = condition if found is None else pc.and_(found, condition)
    return found


def _features(table: pa.Table) -> list[dict[str, Any]]:
    """The features of each row, without those that had no value."""
    found: list[dict[str, Any]] = [{} for _ in range(len(table))]
    for column in table.column_names:
        told = feature_of(column)
        if told is None:
            continue
        for row, value in zip(found, table[column].to_pylist(), strict=True):
            if value is not None:
                row[told[1]] = value
    return found
