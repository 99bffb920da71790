"""The predictions of one request as they are logged; answers are made from them, so that a retry is given the same one.

A request of one row and one of a thousand are the same: columns, of one item a row. Only the database has a row a
prediction.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from itertools import chain
from typing import Any

import msgspec

from beacon_core.domain.features import merge_values

Values = list[float | None]


class Record(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One JSON line of the spool.

    An item of `given` and `served` has one value a feature, in the product's order, null where the request (or the
    feature store) had nothing; `outside` lists, by row, the columns outside their training range. `time` is in seconds
    since 1970, `latency` in seconds; `questions` are the sha256 of what was asked under an id that the client made.
    """

    ids: list[str]
    time: float
    given: list[Values]
    prediction: list[float]
    low: list[float]
    high: list[float]
    version: str
    sha256: str
    latency: float
    request_id: str
    trace_id: str
    outside: dict[int, list[int]] = {}
    served: list[Values] | None = None
    entities: list[int | None] | None = None
    shadow_version: str | None = None
    shadow: list[float] | None = None
    questions: list[str | None] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Sequence[int]) -> "Record":
        """Build the record of some of the rows."""
        taken: dict[str, Any] = {
            name: [column[row] for row in rows] for name in COLUMNS if (column := getattr(self, name)) is not None
        }
        outside = {new: self.outside[row] for new, row in enumerate(rows) if row in self.outside}
        return msgspec.structs.replace(self, outside=outside, **taken)


class FirstRecord(msgspec.Struct, frozen=True):
    """A line of the spool as it was before records had columns: one prediction."""

    id: str
    time: float
    given: Values
    prediction: float
    low: float
    high: float
    version: str
    sha256: str
    latency: float
    request_id: str
    trace_id: str
    outside: list[int] = []
    served: Values | None = None
    entity: int | None = None
    shadow_version: str | None = None
    shadow: float | None = None
    body_sha256: str | None = None


COLUMNS = ("ids", "given", "prediction", "low", "high", "served", "entities", "shadow", "questions")

encode_record = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(Record)
_decode_first = msgspec.json.Decoder(FirstRecord).decode


def decode_record(line: bytes, width: int) -> Record:
    """Read a line of the spool; raises `ValueError` (of which msgspec's errors are) unless it has `width` features."""
    try:
        record = _decoder.decode(line)
    except msgspec.ValidationError:
        record = _of_first(_decode_first(line))
    _check_shape(record, width)
    return record


def decode_records(lines: bytes, width: int) -> list[Record]:
    """Read whole lines of the spool at once; raises `ValueError` when one of them is not as they are written today."""
    records = _decoder.decode_lines(lines)
    for record in records:
        _check_shape(record, width)
    return records


def _check_shape(record: Record, width: int) -> None:
    rows, given, served = len(record.ids), record.given, record.served
    if not rows or not rows == len(given) == len(record.prediction) == len(record.low) == len(record.high):
        raise ValueError("the columns are of unequal length")
    for column in (served, record.entities, record.shadow, record.questions):
        if column is not None and len(column) != rows:
            raise ValueError("the columns are of unequal length")
    for values in given if served is None else chain(given, served):
        if len(values) != width:
            raise ValueError(f"a row has not {width} features")


def _of_first(first: FirstRecord) -> Record:
    return Record(
        [first.id],
        first.time,
        [first.given],
        [first.prediction],
        [first.low],
        [first.high],
        first.version,
        first.sha256,
        first.latency,
        first.request_id,
        first.trace_id,
        outside={0: first.outside} if first.outside else {},
        served=None if first.served is None else [first.served],
        entities=None if first.entity is None else [first.entity],
        shadow_version=first.shadow_version,
        shadow=None if first.shadow is None else [first.shadow],
        questions=None if first.body_sha256 is None else [first.body_sha256],
    )


# The columns of the table `predictions` that a record fills, in the order of `table_rows`.
TABLE_COLUMNS = (
    "id",
    "time",
    "entity",
    "features",
    "served",
    "imputed",
    "out_of_range",
    "prediction",
    "low",
    "high",
    "model_version",
    "model_sha256",
    "shadow_version",
    "shadow_prediction",
    "latency_seconds",
    "request_id",
    "trace_id",
    "body_sha256",
)
TableRow = tuple[str | float | None, ...]


def table_rows(record: Record, names: tuple[str, ...]) -> Iterator[TableRow]:
    """Build, row by row, what `TABLE_COLUMNS` hold in both databases: times and JSON as text; `names` of features."""
    second, microseconds = divmod(round(record.time * 1e6), 1_000_000)
    time = f"{_second(second)}.{microseconds:06}"
    served, entities, shadow, questions = record.served, record.entities, record.shadow, record.questions
    named = _named(names)
    for row, given in enumerate(record.given):
        stored = None if served is None else served[row]
        known = merge_values(given, stored)
        imputed = [name for name, value in zip(names, known, strict=True) if value is None] if None in known else []
        entity = None if entities is None else entities[row]
        yield (
            record.ids[row],
            time,
            None if entity is None else str(entity),
            _text(named(*given)),
            None if stored is None else _text(named(*stored)),
            _text(imputed) if imputed else "[]",
            _text([names[column] for column in record.outside[row]]) if row in record.outside else "[]",
            record.prediction[row],
            record.low[row],
            record.high[row],
            record.version,
            record.sha256,
            record.shadow_version,
            None if shadow is None else shadow[row],
            record.latency,
            record.request_id,
            record.trace_id,
            None if questions is None else questions[row],
        )


def record_of(row: dict[str, Any], names: tuple[str, ...]) -> Record:
    """Read a row of the table back into a record of that one prediction."""
    served, outside = row["served"], [names.index(name) for name in row["out_of_range"] if name in names]
    return Record(
        ids=[row["id"]],
        time=row["time"].timestamp(),
        given=[[row["features"].get(name) for name in names]],
        served=None if served is None else [[served.get(name) for name in names]],
        prediction=[row["prediction"]],
        low=[row["low"]],
        high=[row["high"]],
        version=row["model_version"],
        sha256=row["model_sha256"],
        latency=row["latency_seconds"],
        request_id=row["request_id"],
        trace_id=row["trace_id"],
        outside={0: outside} if outside else {},
        entities=None if row["entity"] is None else [int(row["entity"])],
        shadow_version=row["shadow_version"],
        shadow=None if row["shadow_prediction"] is None else [row["shadow_prediction"]],
        questions=None if row["body_sha256"] is None else [row["body_sha256"]],
    )


@lru_cache(maxsize=8)  # neighbours in the log are of the same second
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


@cache
def _named(names: tuple[str, ...]) -> Any:
    """A struct of the features: it is encoded as an object that has no nulls, faster than a dictionary is."""
    return msgspec.defstruct("Named", [(name, float | None, None) for name in names], omit_defaults=True, gc=False)


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
