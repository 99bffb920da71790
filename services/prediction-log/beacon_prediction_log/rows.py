"""Records as rows of the table, and back."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import compress, repeat
from typing import Any

import msgspec

from beacon_core.data.prediction_log import LoggedPrediction
from beacon_core.spool.record import Record, made_at

_encode_lines = msgspec.json.Encoder().encode_lines


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
