"""A batch of the log as columns, without a step per row: what the job's time and memory follow from.

Arrow reads the JSON of all rows at once, each feature as the type that it has in product.yaml. A batch that has a value
of another type, or any other damage, is not read here at all.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.json
from numpy.typing import NDArray

from beacon_core.domain.api_keys import ANONYMOUS
from beacon_core.domain.feature import Feature
from beacon_core.domain.product import Product
from beacon_drift_profiling.comparison.statistics import Floats
from beacon_drift_profiling.profiling.aggregates import LoggedRows
from beacon_drift_profiling.profiling.feature_reader import FeatureReader, PartitionRows, product_number

_decode_names = msgspec.json.Decoder(list[str]).decode
MICROSECONDS = 1_000_000
DATE_CHARACTERS = len("2026-01-31")
ZONES = "+-Z"
DAMAGE = (ValueError, TypeError, NotImplementedError, msgspec.MsgspecError)
"""What a value of another type raises, in Arrow or in a rule."""


class ColumnReader:
    """Reads batches of a partition's rows; `segmented` are the product's features that have segments.

    `features` are all that are read, by name, and `types` those of their values. Without `fits` nothing is read.
    """

    def __init__(self, readers: Sequence[FeatureReader], segmented: Sequence[Feature], product: Product) -> None:
        self._readers = readers
        self._segmented = [(product.feature_names.index(feature.name), feature) for feature in segmented]
        self._width = len(product.features)
        own = {reader.feature.name: reader.feature for reader in readers}
        self.features = {feature.name: feature for feature in segmented} | own
        self.types = {name: arrow_type(feature) for name, feature in self.features.items()}
        # A feature whose type changed since the model was trained has values of one type, and rules of another.
        self.fits = all(self.types[feature.name] == arrow_type(feature) for feature in segmented)

    def read(self, batch: Sequence[Any]) -> PartitionRows | None:
        """Read rows, tuples as `PartitionRow`; None where one of them does not parse."""
        if not self.fits:
            return None
        ids, features, outside, *figures, times, clients, actuals, received = zip(*batch, strict=True)
        try:
            values = _parse_json(features, self.types)
            numbers = [floats(pa.array(column, pa.float64())) for column in figures]
            if not all(np.isfinite(column).all() for column in numbers):
                return None
            is_outside = _by_level(pa.array(outside, pa.string()), lambda text: float(bool(_decode_names(text))))
            actual, delay = _labels(times, actuals, received)
            return self.rows(ids, values, (*numbers, is_outside > 0, actual, delay), clients)
        except DAMAGE:
            return None

    def rows(
        self, ids: tuple[str, ...], values: pa.Table, figures: Sequence[Any], clients: Sequence[str | None]
    ) -> PartitionRows:
        """Make the rows of columns: `values` are the features, `figures` what `LoggedRows` has beside them.

        Raises one of `DAMAGE` where a value is of another type than its feature.
        """
        own = np.empty((len(ids), len(self._readers)), order="F")
        for at, reader in enumerate(self._readers):
            own[:, at] = _numbers(values[reader.feature.name], reader)
        in_product = np.full((len(ids), self._width), np.nan, order="F")
        for at, feature in self._segmented:
            in_product[:, at] = _product_numbers(values[feature.name], feature)
        columns = {reader.feature.name: reader.column(own[:, at]) for at, reader in enumerate(self._readers)}
        senders = tuple(ANONYMOUS if client is None else client for client in clients)
        return PartitionRows(ids, LoggedRows(own, in_product, *figures), columns, (), senders)


def arrow_type(feature: Feature) -> pa.DataType:
    """The type of a feature's values in the log."""
    if feature.type == "bool":
        return pa.bool_()
    return pa.string() if feature.is_text else pa.float64()


def _parse_json(texts: Sequence[str], types: dict[str, pa.DataType]) -> pa.Table:
    """The features of each row; raises ValueError where a row has other types, or is not one object on one line."""
    lines = "\n".join(texts).encode()
    if lines.count(b"\n") != len(texts) - 1 or lines.count(b"\n{") != len(texts) - 1 or not lines.startswith(b"{"):
        raise ValueError("a row that is no object on one line")  # Arrow takes `null` for an object without members
    options = pyarrow.json.ParseOptions(explicit_schema=pa.schema(types), unexpected_field_behavior="ignore")
    reading = pyarrow.json.ReadOptions(use_threads=False, block_size=len(lines) + 1)
    found = pyarrow.json.read_json(pa.BufferReader(lines), read_options=reading, parse_options=options)
    if len(found) != len(texts):
        raise ValueError("not one object for each row")
    return found


def _numbers(column: pa.ChunkedArray, reader: FeatureReader) -> Floats:
    feature = reader.feature
    if not (feature.is_text or feature.type == "bool"):
        numbers = floats(column)
        if np.isinf(numbers).any():  # a number that no double holds
            raise ValueError("not finite")
        return numbers
    return _by_level(column, reader.read)


def _product_numbers(column: pa.ChunkedArray, feature: Feature) -> Floats:
    if feature.is_measured:
        return floats(column)
    return _by_level(column, lambda value: product_number(feature, value))


def _by_level(column: pa.Array | pa.ChunkedArray, read: Callable[[Any], float]) -> Floats:
    """Read each distinct value once; a missing one is NaN."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    encoded = whole.dictionary_encode()
    numbers = np.array([*map(read, encoded.dictionary.to_pylist()), np.nan])
    codes: NDArray[np.int64] = encoded.indices.fill_null(len(numbers) - 1).to_numpy(zero_copy_only=False)
    return numbers[codes]


def _labels(times: Sequence[str], actuals: Sequence[Any], received: Sequence[str | None]) -> tuple[Floats, Floats]:
    """Each row's actual, and seconds from the prediction to its arrival; NaN where there is none."""
    actual, delay = floats(pa.array(actuals, pa.float64())), np.full(len(actuals), np.nan)
    labelled = [at for at, arrived in enumerate(received) if arrived is not None and actuals[at] is not None]
    if labelled:
        begun, arrived = (_microseconds([texts[at] for at in labelled]) for texts in (times, received))
        delay[labelled] = np.maximum(arrived - begun, 0) / MICROSECONDS
    return actual, delay


def _microseconds(texts: Sequence[str | None]) -> NDArray[np.int64]:
    """Microseconds since 1970 of times as a database writes them; UTC where they have no zone."""
    has_zone = any(mark in str(texts[0])[DATE_CHARACTERS:] for mark in ZONES)
    kind = pa.timestamp("us", "UTC") if has_zone else pa.timestamp("us")
    moments: NDArray[np.int64] = pa.array(texts, pa.string()).cast(kind).cast(pa.int64()).to_numpy()
    return moments


def floats(column: pa.Array | pa.ChunkedArray) -> Floats:
    """A column of numbers, NaN where it is null."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return np.asarray(whole.cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)
