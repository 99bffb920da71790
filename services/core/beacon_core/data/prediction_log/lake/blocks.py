"""Blocks of predictions as Arrow tables: from the records of requests, or from rows as the database takes them.

A record has the columns of one request, so most of a block is made by joining lists.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import chain, groupby, repeat
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from beacon_core.data.prediction_log.lake.columns import ARROW_KINDS, NAMES, TEXT, TIME, Kind, column_of
from beacon_core.data.predictions import PredictionRow
from beacon_core.domain.value_rules import Value
from beacon_core.spool.record import Record

MICROSECONDS = 1_000_000
Column = Sequence[Value | None]
KIND_OF: dict[type, Kind] = {float: "number", int: "number", bool: "flag", str: "text"}


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
SHARED_AS = {"model_version": "version", "model_sha256": "sha256", "latency_seconds": "latency"}
"""What records call them."""
NO_NAMES: list[str] = []
PART = 2_000
"""So many records are made into columns at a time: each column is a walk over them, and they are in the cache then."""


def table_of_records(records: Iterable[Record], logged_at: datetime) -> pa.Table:
    """Make the table of a block of records; those with other features, from before a change, are joined to it."""
    by_names: dict[tuple[str, ...], list[Record]] = {}
    # Neighbours have the same nearly always: to compare them costs less than a hash of each.
    for names, some in groupby(records, attrgetter("names")):
        by_names.setdefault(names, []).extend(some)
    parts = [(names, of[at : at + PART]) for names, of in by_names.items() for at in range(0, len(of), PART)]
    return _joined([_of_same_names(names, part) for names, part in parts], logged_at)


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


def _of_same_names(names: tuple[str, ...], records: Sequence[Record]) -> pa.Table:
    """Column by column over all records: with one row each, as most have, a record costs a step per column."""
    sizes = [len(record.ids) for record in records]
    rows: list[Column] = list(chain.from_iterable(record.values() for record in records))
    own = {
        "id": _chained(records, "ids"),
        "entity": _chained_or_none(records, "entities", sizes),
        "prediction": _chained(records, "prediction"),
        "low": _chained(records, "low"),
        "high": _chained(records, "high"),
        "shadow_prediction": _chained_or_none(records, "shadow", sizes),
        "input_digest": _chained_or_none(records, "input_digests", sizes),
        "from_store": _masked(records, "from_store", sizes, names),
        "out_of_range": _masked(records, "out_of_range", sizes, names),
        "imputed": [_absent(names, row) if None in row else [] for row in rows],
    }
    shared = {name: list(map(attrgetter(SHARED_AS.get(name, name)), records)) for name in SHARED}
    shared["time"] = _microseconds_of(shared["time"])
    arrays = {name: pa.array(column, OWN[name]) for name, column in own.items()}
    spread = pa.array(chain.from_iterable(map(repeat, range(len(sizes)), sizes)), pa.int64(), size=len(rows))
    for name, column in shared.items():
        whole = pa.array(column, pa.int64()).cast(TIME) if name == "time" else pa.array(column, SHARED[name])
        arrays[name] = whole.take(spread) if len(rows) != len(records) else whole
    for name, values in zip(names, zip(*rows, strict=True), strict=True):
        arrays |= _feature(name, values)
    return pa.table(arrays)


def _chained(records: Sequence[Record], name: str) -> list[Any]:
    return list(chain.from_iterable(map(attrgetter(name), records)))


def _chained_or_none(records: Sequence[Record], name: str, sizes: Sequence[int]) -> list[Any]:
    """The values of a column that a record may be without."""
    parts = list(map(attrgetter(name), records))
    if not any(parts):
        return [None] * sum(sizes)
    return list(chain.from_iterable(part or repeat(None, size) for part, size in zip(parts, sizes, strict=True)))


def _masked(records: Sequence[Record], mask: str, sizes: Sequence[int], names: tuple[str, ...]) -> list[Any]:
    """The names of the features that a mask tells, by row; none for the rows of a record without the mask."""
    found: list[Any] = []
    for of_record, size in zip(map(attrgetter(mask), records), sizes, strict=True):
        if of_record:
            found += [[names[column] for column in of_record.get(row, ())] for row in range(size)]
        elif size == 1:
            found.append(None if of_record is None else NO_NAMES)
        else:
            found += [None if of_record is None else NO_NAMES] * size
    return found


def _joined(tables: list[pa.Table], logged_at: datetime) -> pa.Table:
    table = pa.concat_tables(tables, promote_options="default")
    moment = pa.scalar(logged_at.astimezone(UTC), TIME)
    return table.append_column("logged_at", pa.repeat(moment, len(table)))


def _feature(name: str, column: Column) -> dict[str, pa.Array]:
    """The columns of a feature, of each kind of value that it has: nearly always one, and none without any value."""
    kinds = {KIND_OF[found] for found in set(map(type, column)) if found in KIND_OF}
    parts: dict[Kind, Column] = dict.fromkeys(kinds, column)
    if len(kinds) > 1:  # the feature's type was changed between two records
        parts = {kind: [value if KIND_OF.get(type(value)) == kind else None for value in column] for kind in kinds}
    return {column_of(kind, name): array_of(part, kind) for kind, part in parts.items()}


def array_of(column: Column, kind: Kind) -> pa.Array:
    """The values of a feature of a kind, null where there is none."""
    try:
        return pa.array(column, ARROW_KINDS[kind])
    except pa.ArrowInvalid:  # a whole number that a double has not exactly
        return pa.array([None if value is None else float(value) for value in column], ARROW_KINDS[kind])


def _absent(names: tuple[str, ...], row: Column) -> list[str]:
    return [name for name, value in zip(names, row, strict=True) if value is None]


def _microseconds_of(seconds: Sequence[float]) -> list[int]:
    """Times in whole microseconds, each rounded as `made_at` does."""
    parts, whole = np.modf(np.asarray(seconds, np.float64))
    found: list[int] = (whole.astype(np.int64) * MICROSECONDS + np.rint(parts * MICROSECONDS).astype(np.int64)).tolist()
    return found


def _microseconds(text: str) -> int:
    return microseconds(datetime.fromisoformat(text).replace(tzinfo=UTC))


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970, exactly."""
    since = moment - EPOCH
    return (since.days * 86_400 + since.seconds) * MICROSECONDS + since.microseconds
