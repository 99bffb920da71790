"""A part of a partition out of the log's lake, as columns: they have their types already."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beacon_core.data.prediction_log import LogSlice
from beacon_core.data.prediction_log.lake import LakeHandle, scan_tables
from beacon_core.data.prediction_log.lake.blocks import microseconds
from beacon_core.data.prediction_log.lake.columns import KINDS, column_of, kind_of
from beacon_core.data.prediction_log.lake.rows import tuples
from beacon_core.data.prediction_log.lake_joins import OwnActual
from beacon_core.data.prediction_log.partitions import PartitionRow
from beacon_drift_profiling.comparison.statistics import Floats
from beacon_drift_profiling.profiling.feature_reader import PartitionRows
from beacon_drift_profiling.profiling.log_columns import DAMAGE, MICROSECONDS, ColumnReader, floats

FIGURES = ("prediction", "low", "high", "latency_seconds")
COLUMNS = ("id", "time", "client", "features", "out_of_range", *FIGURES)
BATCH = 1 << 16
"""Rows in memory at once: some 10 MB."""


class RowActuals:
    """The actuals of some predictions, by their ids, as columns beside rows."""

    def __init__(self, actuals: Mapping[str, OwnActual]) -> None:
        columns = {
            "id": pa.array(actuals, pa.large_string()),
            "value": pa.array([actual.value for actual in actuals.values()], pa.float64()),
            "received_at": pa.array([microseconds(actual.received_at) for actual in actuals.values()], pa.int64()),
            "time": pa.array([microseconds(actual.time) for actual in actuals.values()], pa.int64()),
        }
        self._set(pa.table(columns))

    def _set(self, table: pa.Table) -> None:
        self._table = table
        self._ids = table["id"].combine_chunks()
        self._values = np.append(table["value"].to_numpy(), np.nan)
        self._received = np.append(table["received_at"].to_numpy(), 0)

    def within(self, since: datetime, until: datetime) -> "RowActuals":
        """Those of predictions made in [since, until)."""
        times = self._table["time"]
        inside = pc.and_(pc.greater_equal(times, microseconds(since)), pc.less(times, microseconds(until)))
        found = RowActuals({})
        found._set(self._table.filter(inside))
        return found

    def of(self, table: pa.Table) -> tuple[Floats, Floats]:
        """Each row's actual, and seconds from the prediction to its arrival; NaN where there is none."""
        if not len(self._ids):
            return np.full(len(table), np.nan), np.full(len(table), np.nan)
        places = pc.index_in(table["id"], self._ids).fill_null(len(self._ids)).to_numpy()
        actual = self._values[places]
        begun = table["time"].cast(pa.int64()).to_numpy()
        late = np.maximum(self._received[places] - begun, 0) / MICROSECONDS
        return actual, np.where(np.isnan(actual), np.nan, late)


def read_slice(
    handle: LakeHandle,
    rows: LogSlice,
    actuals: RowActuals,
    reader: ColumnReader,
    row_by_row: Callable[[list[PartitionRow]], PartitionRows],
) -> Iterator[PartitionRows]:
    """Yield the rows of a slice in batches, in the order of their time and then of their ids.

    `row_by_row` reads a batch in which a value breaks the rules of its feature.
    """
    for table in scan_tables(handle, rows, COLUMNS, size=BATCH):
        found = _read(table, actuals, reader) if reader.fits else None
        yield row_by_row(_as_rows(table, actuals)) if found is None else found


def _read(table: pa.Table, actuals: RowActuals, reader: ColumnReader) -> PartitionRows | None:
    own, set_aside = _with_own_types(table, reader)
    figures = [floats(own[name]) for name in FIGURES]
    outside = pc.fill_null(pc.greater(pc.list_value_length(own["out_of_range"]), 0), False).to_numpy()
    try:
        values = pa.table({name: _values(own, name, reader) for name in reader.types})
        made = reader.rows(
            tuple(own["id"].to_pylist()), values, (*figures, outside, *actuals.of(own)), own["client"].to_pylist()
        )
    except DAMAGE:
        return None
    return PartitionRows(made.ids, made.rows, made.columns, set_aside, made.clients)


def _as_rows(table: pa.Table, actuals: RowActuals) -> list[PartitionRow]:
    """The rows as the database has them."""
    found = []
    values, delays = actuals.of(table)
    for row, value, delay in zip(tuples(table, COLUMNS), values.tolist(), delays.tolist(), strict=True):
        name, time, client, features, outside, *figures = row
        moment = time.astimezone(UTC)
        has_actual = value == value  # noqa: PLR0124 - NaN is what differs from itself
        received = (moment + timedelta(seconds=delay)).isoformat(" ") if has_actual else None
        texts = (msgspec.json.encode(features).decode(), msgspec.json.encode(outside or []).decode())
        actual = value if has_actual else None
        found.append(PartitionRow._make([name, *texts, *figures, moment.isoformat(" "), client, actual, received]))
    return found


def _with_own_types(table: pa.Table, reader: ColumnReader) -> tuple[pa.Table, tuple[str, ...]]:
    """The rows whose values are of their features' types, and the ids of the others: their type was another then."""
    there, wrong = set(table.column_names), None
    for name, feature in reader.features.items():
        others = {column_of(kind, name) for kind in KINDS} - {column_of(kind_of(feature), name)}
        for other in others & there:
            found = pc.is_valid(table[other])
            wrong = found if wrong is None else pc.or_(wrong, found)
    if wrong is None or not pc.any(wrong).as_py():
        return table, ()
    return table.filter(pc.invert(wrong)), tuple(table["id"].filter(wrong).to_pylist())


def _values(table: pa.Table, name: str, reader: ColumnReader) -> pa.ChunkedArray:
    column = column_of(kind_of(reader.features[name]), name)
    if column not in table.column_names:  # the lake has no row with it
        return pa.chunked_array([pa.nulls(len(table), reader.types[name])])
    return table[column].cast(reader.types[name])
