"""The record: the logged predictions of one request. Answers are made from it, so that a retry gets the same one.

A request of one row or a thousand is one record of columns, with one item per row. Only the database has one row per
prediction.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import compress, repeat
from typing import Any

import msgspec

from beacon_core.data.prediction_log import LoggedPrediction
from beacon_inference.prediction_log.block import FeatureBlock, Values


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
_encode_lines = msgspec.json.Encoder().encode_lines


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
    elif len(features) != rows or any(len(values) != width for values in features):
        raise ValueError(f"there are not {width} features for each of {rows} rows")
    for mask in (record.out_of_range, record.from_store):
        for row, columns in (mask or {}).items():
            if not 0 <= row < rows or (columns and (min(columns) < 0 or max(columns) >= width)):
                raise ValueError(f"a mask has rows or columns outside {rows} by {width}")


def _take(mask: dict[int, list[int]], rows: Sequence[int]) -> dict[int, list[int]]:
    return {new: mask[row] for new, row in enumerate(rows) if row in mask}


def made_at(record: Record) -> datetime:
    """The time of the record, in whole microseconds: the same before it is in the table and after."""
    return datetime.fromtimestamp(record.time, UTC)


def table_rows(record: Record) -> Iterator[tuple[Any, ...]]:
    """Build the rows of the table, as PredictionRow has their fields: the way for few rows."""
    shared, names = _shared(record), record.names
    named = _named(names)
    entities, shadow, digests = record.entities, record.shadow, record.input_digests
    for row, values in enumerate(record.values()):
        imputed = [name for name, value in zip(names, values, strict=True) if value is None] if None in values else []
        yield (
            record.ids[row],
            None if entities is None else entities[row],
            _text(named(*values)),
            None if record.from_store is None else _masked(record.from_store, row, names),
            _text(imputed) if imputed else "[]",
            _masked(record.out_of_range, row, names),
            record.prediction[row],
            record.low[row],
            record.high[row],
            None if shadow is None else shadow[row],
            None if digests is None else digests[row],
            *shared,
        )


def table_columns(record: Record) -> tuple[tuple[Any, ...], Iterator[tuple[Any, ...]]]:
    """Build the same rows in two parts, what they share and what each has of its own: the way for many rows."""
    names, rows, lacking = record.names, range(len(record)), record.lacking()
    named = _named(names)
    # A line of JSON has no line feed: text escapes it.
    texts = _encode_lines([named(*values) for values in record.values()]).decode().split("\n")
    imputed = {row: _text(list(compress(names, missing))) for row, missing in lacking.items()}
    none, stored, out_of_range = repeat(None), record.from_store, record.out_of_range
    own = zip(
        record.ids,
        record.entities or none,
        texts,
        none if stored is None else [_masked(stored, row, names) for row in rows],
        [imputed.get(row, "[]") for row in rows] if imputed else repeat("[]"),
        [_masked(out_of_range, row, names) for row in rows] if out_of_range else repeat("[]"),
        record.prediction,
        record.low,
        record.high,
        record.shadow or none,
        record.input_digests or none,
        strict=False,  # the last text is empty, and some have no end
    )
    return _shared(record), own


def _shared(record: Record) -> tuple[Any, ...]:
    return (
        made_at(record).replace(tzinfo=None).isoformat(" ", "microseconds"),
        record.version,
        record.sha256,
        record.shadow_version,
        record.latency,
        record.request_id,
        record.trace_id,
        record.client,
    )


def record_of(row: LoggedPrediction, order: tuple[str, ...]) -> Record:
    """Read a row of the table back into a record of that one prediction, its features in `order` where that has them.

    The table does not keep their order.
    """
    names = tuple(sorted((*row.features, *row.imputed), key=_places(order)))
    out_of_range, from_store = _columns(row.out_of_range, names), row.from_store
    return Record(
        ids=[row.id],
        time=row.time.timestamp(),
        names=names,
        features=[[row.features.get(name) for name in names]],
        prediction=[row.prediction],
        low=[row.low],
        high=[row.high],
        version=row.model_version,
        sha256=row.model_sha256,
        latency=row.latency_seconds,
        request_id=row.request_id,
        trace_id=row.trace_id or "",
        out_of_range=out_of_range,
        from_store=None if from_store is None else _columns(from_store, names),
        entities=None if row.entity is None else [row.entity],
        shadow_version=row.shadow_version,
        shadow=None if row.shadow_prediction is None else [row.shadow_prediction],
        input_digests=None if row.input_digest is None else [row.input_digest],
        client=row.client,
    )


def _masked(mask: dict[int, list[int]], row: int, names: tuple[str, ...]) -> str:
    return _text([names[column] for column in mask[row]]) if row in mask else "[]"


def _columns(masked: list[str], names: tuple[str, ...]) -> dict[int, list[int]]:
    """Build the mask of one row."""
    columns = [names.index(name) for name in masked]
    return {0: columns} if columns else {}


@lru_cache(maxsize=8)
def _places(order: tuple[str, ...]) -> Callable[[str], int]:
    places = {name: place for place, name in enumerate(order)}
    return lambda name: places.get(name, len(places))


@lru_cache(maxsize=8)  # the product's, and those of records from before a change
def _named(names: tuple[str, ...]) -> Any:
    """A Struct of the features: it is encoded, faster than a dictionary, as an object without nulls."""
    fields = [(f"f{column}", Any, None) for column in range(len(names))]
    rename = {f"f{column}": name for column, name in enumerate(names)}
    return msgspec.defstruct("Named", fields, rename=rename, omit_defaults=True, gc=False)


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
