"""The record: the logged predictions of one request. Answers are made from it, so that a retry gets the same one.

A request of one row or a thousand is one record of columns, with one item per row. Only the database has one row per
prediction.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from beacon_core.spool.block import FeatureBlock, Values


class Record(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One JSON line of the spool.

    An item of `features` has one value per feature, in the order of `names`, before imputation: null where neither the
    request nor the feature store had one. Those of many rows are a block of columns. The names are those of the product
    at that time. `from_store` lists, by row, the columns that came from the feature store (None where it was not
    asked), `out_of_range` those outside their training range. `entities` are keys as text. `time` is in seconds since
    1970, `latency` in seconds; `input_digests` are those of the rows that have a client's id. `client` is the name of
    the API key, None where none was accepted.
    """

    ids: list[str]
    time: float
    names: tuple[str, ...]
    features: list[Values] | FeatureBlock
    prediction: list[float]
    low: list[float]
    high: list[float]
    version: str
    sha256: str
    latency: float
    request_id: str
    trace_id: str
    out_of_range: dict[int, list[int]] = {}
    from_store: dict[int, list[int]] | None = None
    entities: list[str | None] | None = None
    shadow_version: str | None = None
    shadow: list[float] | None = None
    input_digests: list[str | None] | None = None
    client: str | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def values(self, rows: Sequence[int] | None = None) -> list[Values]:
        """The values of some of the rows, or of all."""
        if isinstance(self.features, FeatureBlock):
            return self.features.rows(len(self.names), rows)
        return self.features if rows is None else [self.features[row] for row in rows]

    def lacking(self) -> dict[int, tuple[bool, ...]]:
        """Which features each row lacks, for the rows that lack any."""
        if isinstance(self.features, FeatureBlock):
            return self.features.lacking(len(self.names))
        return {
            row: tuple([value is None for value in values])
            for row, values in enumerate(self.features)
            if None in values
        }

    def take(self, rows: Sequence[int]) -> "Record":
        """Build the record of some of the rows."""
        taken: dict[str, Any] = {
            name: [column[row] for row in rows] for name in COLUMNS if (column := getattr(self, name)) is not None
        }
        out_of_range = _take(self.out_of_range, rows)
        from_store = None if self.from_store is None else _take(self.from_store, rows)
        features = (
            self.features.take(len(self.names), rows) if isinstance(self.features, FeatureBlock) else self.values(rows)
        )
        return msgspec.structs.replace(
            self, features=features, out_of_range=out_of_range, from_store=from_store, **taken
        )


COLUMNS = ("ids", "prediction", "low", "high", "entities", "shadow", "input_digests")

encode_record = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(Record)


def decode_record(line: bytes) -> Record:
    """Read a line of the spool; raises `ValueError` (of which msgspec's errors are)."""
    record = _decoder.decode(line)
    _check_shape(record)
    return record


def decode_records(lines: bytes) -> list[Record]:
    """Read whole lines of the spool at once; raises `ValueError` when one of them is not a valid record."""
    records = _decoder.decode_lines(lines)
    for record in records:
        _check_shape(record)
    return records


def _check_shape(record: Record) -> None:
    rows, features, width = len(record.ids), record.features, len(record.names)
    if not rows or not rows == len(record.prediction) == len(record.low) == len(record.high):
        raise ValueError("the columns are of unequal length")
    for column in (record.entities, record.shadow, record.input_digests):
        if column is not None and len(column) != rows:
            raise ValueError("the columns are of unequal length")
    if isinstance(features, FeatureBlock):
        features.check_shape(rows, width)
    elif [len(values) for values in features] != [width] * rows:
        raise ValueError(f"there are not {width} features for each of {rows} rows")
    if record.out_of_range:
        _check_mask(record.out_of_range, rows, width)
    if record.from_store:
        _check_mask(record.from_store, rows, width)


def _check_mask(mask: dict[int, list[int]], rows: int, width: int) -> None:
    for row, columns in mask.items():
        if not 0 <= row < rows or (columns and (min(columns) < 0 or max(columns) >= width)):
            raise ValueError(f"a mask has rows or columns outside {rows} by {width}")


def _take(mask: dict[int, list[int]], rows: Sequence[int]) -> dict[int, list[int]]:
    return {new: mask[row] for new, row in enumerate(rows) if row in mask}


def made_at(record: Record) -> datetime:
    """The time of the record, in whole microseconds: the same before it is in the table and after."""
    return datetime.fromtimestamp(record.time, UTC)
