"""One partition of the prediction log, read for profiling in batches: rows with their actuals, as columns.

The log has features as clients see them: numbers, text, true and false, dates. A row that does not parse is set aside.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import msgspec
import numpy as np

from beacon_core.data.database import Connection
from beacon_core.data.prediction_log import partitions
from beacon_core.data.prediction_log.partitions import Partition, PartitionRow
from beacon_core.domain.api_keys import ANONYMOUS
from beacon_core.domain.feature import Feature
from beacon_core.domain.product import Product
from beacon_core.domain.text import text_code
from beacon_core.domain.value_rules import Value, ValueRuleError, other_code
from beacon_drift_profiling.comparison.statistics import Floats
from beacon_drift_profiling.profiling.aggregates import LoggedRows
from beacon_drift_profiling.profiling.profile import Column, TextColumn

# Only the features of product.yaml are read: the values of others need not be of these types.
_decode = msgspec.json.Decoder(dict[str, float | bool | str | None]).decode
_decode_names = msgspec.json.Decoder(list[str]).decode
FIGURES = 7
"""What a row has beside its features: prediction, low, high, latency, outside, actual, delay."""


class PartitionRows(msgspec.Struct, frozen=True):
    """Some rows of one partition in order of their ids, and the ids that were set aside.

    `columns` are the features as they are profiled, by name. `clients` says who sent each row.
    """

    ids: tuple[str, ...]
    rows: LoggedRows
    columns: dict[str, Column]
    set_aside: tuple[str, ...]
    clients: tuple[str, ...]


class FeatureReader:
    """Reads one feature's values as numbers; a text becomes its `text_code`, which `texts` maps back."""

    def __init__(self, feature: Feature) -> None:
        self.feature = feature
        self.texts: dict[float, str] = {}
        self._codes: dict[str, float] = {}
        self.is_text = feature.is_text and not feature.is_time
        self.read: Callable[[Value | None], float] = self._text if self.is_text else self._number
        if feature.type == "bool" or feature.is_time:
            self.read = feature.to_number

    def column(self, values: Floats) -> Column:
        """The values (rows,) as a profile takes them."""
        return TextColumn(values, self.texts) if self.is_text else values

    def _number(self, value: Value | None) -> float:
        if value is None:
            return math.nan
        if isinstance(value, bool | str):
            raise TypeError(f"{self.feature.name} is no number")
        return value

    def _text(self, value: Value | None) -> float:
        if value is None:
            return math.nan
        if not isinstance(value, str):
            raise TypeError(f"{self.feature.name} is no text")
        code = self._codes.get(value)
        if code is None:
            code = self._codes[value] = text_code(value)
            self.texts[code] = value
        return code


def read_partition(
    connection: Connection, partition: Partition, product: Product, features: Sequence[Feature]
) -> Iterator[PartitionRows]:
    """Yield one partition's rows and their actuals in batches; `features` are those that the model was trained on."""
    readers = [FeatureReader(feature) for feature in features]
    slices = {segment.of for segment in product.segments.values()}
    segmented = [feature for feature in product.features if feature.name in slices]
    for batch in partitions.rows_of(connection, partition, product.policy.evidence):
        ids: list[str] = []
        clients: list[str] = []
        parsed: list[list[float]] = []
        set_aside: list[str] = []
        for row in batch:
            try:
                parsed.append(_parse(row, readers, segmented))
                ids.append(row.id)
                clients.append(ANONYMOUS if row.client is None else str(row.client))
            except (ValueError, TypeError):
                set_aside.append(str(row.id))
        rows = _as_columns(parsed, len(readers), segmented, product)
        columns = {reader.feature.name: reader.column(rows.features[:, at]) for at, reader in enumerate(readers)}
        yield PartitionRows(tuple(ids), rows, columns, tuple(set_aside), tuple(clients))


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
    values += [_product_number(feature, known.get(feature.name)) for feature in segmented]
    numbers = [float(value) for value in (row.prediction, row.low, row.high, row.latency_seconds)]
    if not np.isfinite(numbers).all():
        raise ValueError("not finite")
    value = delay = float("nan")
    if row.actual is not None and row.received_at is not None:
        value = float(row.actual)
        delay = max((row.received_at - _utc(row.time)).total_seconds(), 0.0)
    return [*values, *numbers, float(bool(_decode_names(row.out_of_range))), value, delay]


def _product_number(feature: Feature, value: Value | None) -> float:
    """The number of a value by product.yaml as it is now: a level that it no longer has is an unseen one."""
    try:
        return feature.to_number(value)
    except ValueRuleError:
        return other_code(feature.known_levels)


def _utc(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
