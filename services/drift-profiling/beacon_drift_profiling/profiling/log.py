"""One partition of the prediction log, read for profiling in batches: rows with their actuals, as columns.

The log has features as clients see them: numbers, text, true and false, dates. A batch is read column by column
(`log_columns`). One that cannot be read so has a row that does not parse: it is read row by row, and that row is set
aside.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from beacon_core.data.database import Connection
from beacon_core.data.prediction_log import LogSlice, lake_joins, partitions
from beacon_core.data.prediction_log.partitions import HOUR, Partition, PartitionRow, TimeSpan
from beacon_core.data.prediction_log.reading import LakeSource, lake_of
from beacon_core.domain.api_keys import ANONYMOUS
from beacon_core.domain.feature import Feature
from beacon_core.domain.product import Product
from beacon_drift_profiling.profiling.aggregates import LoggedRows
from beacon_drift_profiling.profiling.feature_reader import FeatureReader, PartitionRows, product_number
from beacon_drift_profiling.profiling.log_columns import ColumnReader

if TYPE_CHECKING:
    from beacon_core.data.prediction_log.lake import LakeHandle
    from beacon_drift_profiling.profiling.log_lake import RowActuals

__all__ = ["LakeActuals", "PartitionRows", "read_lake_slice", "read_partition", "slice_of"]

# Only the features of product.yaml are read: the values of others may be anything.
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_decode_names = msgspec.json.Decoder(list[str]).decode
MOST_KEPT = 500_000
"""So many actuals take some 200 MB."""
FIGURES = 7
"""What a row has beside its features: prediction, low, high, latency, outside, actual, delay."""


class LakeActuals:
    """The actuals of predictions in the lake. Those of a whole hour are kept for its slices, where they are few.

    A look takes as long for a slice as for the hour: all actuals since then are looked at.
    """

    def __init__(self) -> None:
        self._partition: Partition | None = None
        self._kept: RowActuals | None = None

    def of(self, connection: Connection, source: LakeSource, partition: Partition, rows: LogSlice) -> "RowActuals":
        """The actuals of a slice of a partition, and maybe of others."""
        from beacon_drift_profiling.profiling.log_lake import RowActuals  # noqa: PLC0415 - only where there is a lake

        if partition == self._partition and self._kept is not None:
            return self._kept
        self._partition, self._kept = partition, None
        if partitions.recent_actuals(connection, partition) > MOST_KEPT:
            return RowActuals(lake_joins.actuals_of(connection, source, rows, rows.evidence))
        whole = msgspec.structs.replace(rows, since=partition.hour, until=partition.hour + HOUR)
        self._kept = RowActuals(lake_joins.actuals_of(connection, source, whole, rows.evidence))
        return self._kept


def read_partition(
    connection: Connection,
    partition: Partition,
    product: Product,
    features: Sequence[Feature],
    span: TimeSpan | None = None,
    lake_actuals: LakeActuals | None = None,
) -> Iterator[PartitionRows]:
    """Yield one partition's rows and their actuals in batches; of a part of its hour, where one is given.

    `features` are those that the model was trained on. Rows of the database are in the order of their ids, those of a
    lake in that of their time.
    """
    if (source := lake_of(connection)) is None:
        readers, segmented = _readers(product, features)
        by_columns = ColumnReader(readers, segmented, product)
        for batch in partitions.rows_of(connection, partition, product.policy.evidence, span):
            found = by_columns.read(batch)
            yield _row_by_row(batch, readers, segmented, product) if found is None else found
        return
    rows = slice_of(partition, product, span)
    own = (lake_actuals or LakeActuals()).of(connection, source, partition, rows)
    with source.begin() as handle:
        yield from read_lake_slice(handle, rows, own, product, features)


def slice_of(partition: Partition, product: Product, span: TimeSpan | None = None) -> LogSlice:
    """The rows of a partition that count, or of a part of it."""
    since, until = span or TimeSpan(partition.hour, partition.hour + HOUR)
    return LogSlice(since, until, partition.model_version, product.policy.evidence)


def read_lake_slice(
    handle: "LakeHandle", rows: LogSlice, actuals: "RowActuals", product: Product, features: Sequence[Feature]
) -> Iterator[PartitionRows]:
    """Yield the rows of a slice of the lake in batches, in the order of their time; needs no database."""
    from beacon_drift_profiling.profiling import log_lake  # noqa: PLC0415 - only where there is a lake

    readers, segmented = _readers(product, features)
    by_columns = ColumnReader(readers, segmented, product)
    yield from log_lake.read_slice(
        handle, rows, actuals, by_columns, lambda batch: _row_by_row(batch, readers, segmented, product)
    )


def _readers(product: Product, features: Sequence[Feature]) -> tuple[list[FeatureReader], list[Feature]]:
    """The readers of the model's features, and the features of the product that have segments."""
    slices = {segment.of for segment in product.segments.values()}
    segmented = [feature for feature in product.features if feature.name in slices]
    return [FeatureReader(feature) for feature in features], segmented


def _row_by_row(
    batch: Sequence[Any], readers: Sequence[FeatureReader], segmented: Sequence[Feature], product: Product
) -> PartitionRows:
    ids: list[str] = []
    clients: list[str] = []
    parsed: list[list[float]] = []
    set_aside: list[str] = []
    for row in map(PartitionRow._make, batch):
        try:
            parsed.append(_parse(row, readers, segmented))
            ids.append(row.id)
            clients.append(ANONYMOUS if row.client is None else str(row.client))
        except (ValueError, TypeError):
            set_aside.append(str(row.id))
    rows = _as_columns(parsed, len(readers), segmented, product)
    columns = {reader.feature.name: reader.column(rows.features[:, at]) for at, reader in enumerate(readers)}
    return PartitionRows(tuple(ids), rows, columns, tuple(set_aside), tuple(clients))


def _as_columns(parsed: list[list[float]], width: int, segmented: Sequence[Feature], product: Product) -> LoggedRows:
    sliced = len(segmented)
    matrix = np.asarray(parsed, dtype=np.float64).reshape(len(parsed), width + sliced + FIGURES)
    own, of_segments, rest = matrix[:, :width], matrix[:, width : width + sliced], matrix[:, width + sliced :].T
    in_product = np.full((len(matrix), len(product.features)), np.nan)
    in_product[:, [product.feature_names.index(feature.name) for feature in segmented]] = of_segments
    return LoggedRows(own, in_product, rest[0], rest[1], rest[2], rest[3], rest[4] > 0, rest[5], rest[6])


def _parse(row: PartitionRow, readers: Sequence[FeatureReader], segmented: Sequence[Feature]) -> list[float]:
    """Return one row's features, those of segments, then its figures; raises ValueError or TypeError."""
    known = _decode(row.features)
    values = [reader.read(known.get(reader.feature.name)) for reader in readers]
    values += [product_number(feature, known.get(feature.name)) for feature in segmented]
    numbers = [float(value) for value in (row.prediction, row.low, row.high, row.latency_seconds)]
    if not np.isfinite(numbers).all():
        raise ValueError("not finite")
    value = delay = float("nan")
    if row.actual is not None and row.received_at is not None:
        value = float(row.actual)
        delay = max((_utc(row.received_at) - _utc(row.time)).total_seconds(), 0.0)
    return [*values, *numbers, float(bool(_decode_names(row.out_of_range))), value, delay]


def _utc(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
