"""One partition of the prediction log, read for profiling: its rows with their actuals, as columns.

A row that does not parse is set aside.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
import numpy as np

from beacon_core.data import partitions
from beacon_core.data.database import Connection
from beacon_core.data.partitions import Partition, PartitionActual, PartitionRow
from beacon_drift_profiling.profiling.aggregates import LoggedRows

_decode = msgspec.json.Decoder(dict[str, float | None]).decode
_decode_names = msgspec.json.Decoder(list[str]).decode


class PartitionRows(msgspec.Struct, frozen=True):
    """The rows of one partition in order of their ids, and the ids that were set aside."""

    ids: tuple[str, ...]
    rows: LoggedRows
    set_aside: tuple[str, ...]


def read_partition(connection: Connection, partition: Partition, names: Sequence[str]) -> PartitionRows:
    """Read one partition's rows and their actuals; `names` are the features in order."""
    actuals = partitions.actuals_of(connection, partition)
    ids: list[str] = []
    parsed: list[list[float]] = []
    set_aside: list[str] = []
    blocks = [np.empty((0, len(names) + 7))]
    for batch in partitions.rows_of(connection, partition):
        for row in batch:
            try:
                parsed.append(_parse(row, names, actuals.get(row.id)))
                ids.append(row.id)
            except (ValueError, TypeError):
                set_aside.append(str(row.id))
        blocks.append(np.asarray(parsed, dtype=np.float64).reshape(len(parsed), len(names) + 7))
        parsed.clear()
    matrix = np.concatenate(blocks)
    features, rest = matrix[:, : len(names)], matrix[:, len(names) :].T
    rows = LoggedRows(features, rest[0], rest[1], rest[2], rest[3], rest[4] > 0, rest[5], rest[6])
    return PartitionRows(tuple(ids), rows, tuple(set_aside))


def _parse(row: PartitionRow, names: Sequence[str], actual: PartitionActual | None) -> list[float]:
    """Return one row's features, then the rest of `LoggedRows` in order; raises ValueError or TypeError."""
    known = _decode(row.features)
    values = [known.get(name) for name in names]
    numbers = [float(value) for value in (row.prediction, row.low, row.high, row.latency_seconds)]
    if not np.isfinite(numbers).all():
        raise ValueError("not finite")
    value = delay = float("nan")
    if actual is not None:
        value = actual.value
        delay = max((actual.received_at - _utc(row.time)).total_seconds(), 0.0)
    filled = [float("nan") if item is None else item for item in values]
    return [*filled, *numbers, float(bool(_decode_names(row.out_of_range))), value, delay]


def _utc(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
