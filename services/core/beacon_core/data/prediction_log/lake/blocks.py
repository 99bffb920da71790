"""Blocks of predictions as Arrow tables: from the records of requests, or from rows as the database takes them.

A record has the columns of one request, so most of a block is made by joining lists.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec
import pyarrow as pa

from beacon_core.data.prediction_log.lake.columns import ARROW_KINDS, NAMES, TEXT, TIME, Kind, column_of
from beacon_core.data.predictions import PredictionRow
from beacon_core.domain.value_rules import Value

MICROSECONDS = 1_000_000
Column = Sequence[Value | None]


class RequestRecord(Protocol):
    """The predictions of one request in columns, as inference writes them to its spool: what each is, is said there."""

    @property
    def ids(self) -> Sequence[str]: ...
    @property
    def time(self) -> float: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def prediction(self) -> Sequence[float]: ...
    @property
    def low(self) -> Sequence[float]: ...
    @property
    def high(self) -> Sequence[float]: ...
    @property
    def version(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def latency(self) -> float: ...
    @property
    def request_id(self) -> str: ...
    @property
    def trace_id(self) -> str: ...
    @property
    def out_of_range(self) -> dict[int, list[int]]: ...
    @property
    def from_store(self) -> dict[int, list[int]] | None: ...
    @property
    def entities(self) -> Sequence[str | None] | None: ...
    @property
    def shadow_version(self) -> str | None: ...
    @property
    def shadow(self) -> Sequence[float] | None: ...
    @property
    def input_digests(self) -> Sequence[str | None] | None: ...
    @property
    def client(self) -> str | None: ...
    def values(self) -> Sequence[Column]: ...


OWN: dict[str, pa.DataType] = {
    "id": TEXT,
    "entity": TEXT,
    "prediction": pa.float64(),
    "low": pa.float64(),
    "high": pa.float64(),
    "shadow_prediction": pa.float64(),
    "input_digest": TEXT,
    "from_store": NAMES,
    "imputed": NAMES,
    "out_of_range": NAMES,
}
"""The columns whose values each prediction has of its own."""
SHARED: dict[str, pa.DataType] = {
    "time": TIME,
    "model_version": TEXT,
    "model_sha256": TEXT,
    "shadow_version": TEXT,
    "latency_seconds": pa.float64(),
    "request_id": TEXT,
    "trace_id": TEXT,
    "client": TEXT,
}
"""Those that are the same for all predictions of a request."""


def table_of_records(records: Iterable[RequestRecord], logged_at: datetime) -> pa.Table:
    """Make the table of a block of records; those of other names of features, from before a change, are joined to it."""
    by_names: dict[tuple[str, ...], list[RequestRecord]] = {}
    for record in records:
        by_names.setdefault(record.names, []).append(record)
    return _joined([_of_same_names(names, of) for names, of in by_names.items()], logged_at)


def table_of_rows(rows: Sequence[PredictionRow], logged_at: datetime) -> pa.Table:
    """Make the table of rows as `beacon_core.data.predictions` takes them."""
    features = [msgspec.json.decode(row.features) for row in rows]
    columns: dict[str, list[Any]] = {name: [getattr(row, name) for row in rows] for name in (*OWN, *SHARED)}
    columns["time"] = [_microseconds(row.time) for row in rows]
    for name in ("from_store", "imputed", "out_of_range"):
        columns[name] = [None if text is None else msgspec.json.decode(text) for text in columns[name]]
    arrays = {name: pa.array(columns[name], kind) for name, kind in (OWN | SHARED).items() if name != "time"}
    arrays["time"] = pa.array(columns["time"], pa.int64()).cast(TIME)
    for name in dict.fromkeys(name for row in features for name in row):
        arrays |= _feature(name, [row.get(name) for row in features])
    return _joined([pa.table(arrays)], logged_at)


def _of_same_names(names: tuple[str, ...], records: Sequence[RequestRecord]) -> pa.Table:
    own: dict[str, list[Any]] = {name: [] for name in OWN}
    shared: dict[str, list[Any]] = {name: [] for name in SHARED}
    lengths, rows = [], []
    for record in records:
        size = len(record.ids)
        lengths.append(size)
        values = record.values()
        rows += values
        nothing: list[Any] = [None] * size
        own["id"] += record.ids
        own["entity"] += record.entities or nothing
        own["prediction"] += record.prediction
        own["low"] += record.low
        own["high"] += record.high
        own["shadow_prediction"] += record.shadow or nothing
        own["input_digest"] += record.input_digests or nothing
        own["from_store"] += nothing if record.from_store is None else _masked(record.from_store, size, names)
        own["out_of_range"] += _masked(record.out_of_range, size, names)
        own["imputed"] += [_absent(names, row) if None in row else [] for row in values]
        shared["time"].append(microseconds(datetime.fromtimestamp(record.time, UTC)))
        shared["model_version"].append(record.version)
        shared["model_sha256"].append(record.sha256)
        shared["shadow_version"].append(record.shadow_version)
        shared["latency_seconds"].append(record.latency)
        shared["request_id"].append(record.request_id)
        shared["trace_id"].append(record.trace_id)
        shared["client"].append(record.client)
    arrays = {name: pa.array(column, OWN[name]) for name, column in own.items()}
    spread = pa.array([at for at, size in enumerate(lengths) for _ in range(size)], pa.int64())
    for name, column in shared.items():
        whole = pa.array(column, pa.int64()).cast(TIME) if name == "time" else pa.array(column, SHARED[name])
        arrays[name] = whole.take(spread) if len(rows) != len(records) else whole
    for name, column in zip(names, zip(*rows, strict=True), strict=True):
        arrays |= _feature(name, column)
    return pa.table(arrays)


def _joined(tables: list[pa.Table], logged_at: datetime) -> pa.Table:
    table = pa.concat_tables(tables, promote_options="default")
    moment = pa.scalar(logged_at.astimezone(UTC), TIME)
    return table.append_column("logged_at", pa.repeat(moment, len(table)))


def _feature(name: str, column: Column) -> dict[str, pa.Array]:
    """The columns of a feature, of each kind of value that it has: nearly always one, and none without any value."""
    kinds: tuple[Kind, ...] = ("number", "flag", "text")
    first = next((value for value in column if value is not None), None)
    if first is None:
        return {}
    likely = _kind(first)
    try:
        return {column_of(likely, name): _array(column, likely)}
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, OverflowError):
        pass
    parts = {
        kind: [value if value is not None and _kind(value) == kind else None for value in column] for kind in kinds
    }
    return {
        column_of(kind, name): pa.array(
            [float(v) if kind == "number" and v is not None else v for v in part], ARROW_KINDS[kind]
        )
        for kind, part in parts.items()
        if any(value is not None for value in part)
    }


def _array(column: Column, kind: Kind) -> pa.Array:
    if kind == "number" and any(value is True or value is False for value in column):
        raise TypeError  # Arrow would take them for numbers
    return pa.array(column, ARROW_KINDS[kind])


def _kind(value: Value) -> Kind:
    if isinstance(value, bool):
        return "flag"
    return "text" if isinstance(value, str) else "number"


def _absent(names: tuple[str, ...], row: Column) -> list[str]:
    return [name for name, value in zip(names, row, strict=True) if value is None]


def _masked(mask: dict[int, list[int]], size: int, names: tuple[str, ...]) -> Iterator[list[str]]:
    if not mask:
        return iter([[]] * size)
    return ([names[column] for column in mask[row]] if row in mask else [] for row in range(size))


def _microseconds(text: str) -> int:
    return microseconds(datetime.fromisoformat(text).replace(tzinfo=UTC))


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970, exactly."""
    since = moment - EPOCH
    return (since.days * 86_400 + since.seconds) * MICROSECONDS + since.microseconds
