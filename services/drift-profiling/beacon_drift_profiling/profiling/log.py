"""One partition of the prediction log, read for profiling: its rows with their actuals.

A row that does not parse is set aside.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
from sqlalchemy import ColumnElement, Connection, Text, cast, select

from beacon_core.data.actuals import actual_id
from beacon_core.data.partitions import Partition
from beacon_core.data.tables import actuals, predictions
from beacon_core.domain.features import merge_named
from beacon_drift_profiling.profiling.aggregates import LoggedRows

HOUR = timedelta(hours=1)
BATCH = 10_000

_decode = msgspec.json.Decoder(dict[str, float | None]).decode
_decode_names = msgspec.json.Decoder(list[str]).decode


class PartitionRows(msgspec.Struct, frozen=True):
    """The rows of one partition in order of their ids, the newest package digest, and the ids that were set aside."""

    ids: tuple[str, ...]
    rows: LoggedRows
    sha256: str | None
    set_aside: tuple[str, ...]


def read_partition(connection: Connection, partition: Partition, names: Sequence[str]) -> PartitionRows:
    """Read one partition's rows and their actuals; `names` are the features in order."""
    table = predictions.c
    query: Any = (
        select(
            table.id,
            cast(table.features, Text),
            cast(table.served, Text),
            cast(table.out_of_range, Text),
            table.prediction,
            table.low,
            table.high,
            table.latency_seconds,
            cast(table.time, Text),
            table.model_sha256,
        )
        .where(*_within(partition))
        .order_by(table.id)
    )
    actual = _actuals(connection, partition)
    ids: list[str] = []
    parsed: list[list[float]] = []
    set_aside: list[str] = []
    blocks = [np.empty((0, len(names) + 7))]
    sha256 = None
    for batch in connection.execute(query, execution_options={"yield_per": BATCH}).partitions():
        for row in batch:
            try:
                parsed.append(_parse(row, names, actual.get(row[0])))
                ids.append(row[0])
                sha256 = row[9]
            except (ValueError, TypeError):
                set_aside.append(str(row[0]))
        blocks.append(np.asarray(parsed, dtype=np.float64).reshape(len(parsed), len(names) + 7))
        parsed.clear()
    matrix = np.concatenate(blocks)
    features, rest = matrix[:, : len(names)], matrix[:, len(names) :].T
    rows = LoggedRows(features, rest[0], rest[1], rest[2], rest[3], rest[4] > 0, rest[5], rest[6])
    return PartitionRows(tuple(ids), rows, sha256, tuple(set_aside))


def _parse(row: Sequence[Any], names: Sequence[str], actual: tuple[float, datetime] | None) -> list[float]:
    """Return one row's features, then the rest of `LoggedRows` in order; raises ValueError or TypeError."""
    stored = None if row[2] is None or row[2] == "null" else _decode(row[2])
    known = merge_named(_decode(row[1]), stored)
    values = [known.get(name) for name in names]
    numbers = [float(value) for value in row[4:8]]
    if not np.isfinite(numbers).all():
        raise ValueError("not finite")
    value = delay = float("nan")
    if actual is not None:
        value, received = actual
        delay = max((received - _utc(row[8])).total_seconds(), 0.0)
    filled = [float("nan") if item is None else item for item in values]
    return [*filled, *numbers, float(bool(_decode_names(row[3]))), value, delay]


def _actuals(connection: Connection, partition: Partition) -> dict[str, tuple[float, datetime]]:
    """Value and arrival of the actuals of a partition's predictions, by prediction id."""
    columns = predictions.c
    mine = actuals.c.id == actual_id(columns.id, columns.entity, columns.time)
    query = select(columns.id, actuals.c.value, actuals.c.received_at).join_from(predictions, actuals, mine)
    found = connection.execute(query.where(*_within(partition)))
    return {name: (float(value), received) for name, value, received in found}


def _within(partition: Partition) -> Iterable[ColumnElement[bool]]:
    table = predictions.c
    return (
        table.time >= partition.hour,
        table.time < partition.hour + HOUR,
        table.model_version == partition.model_version,
    )


def _utc(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
