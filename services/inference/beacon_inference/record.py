"""One prediction as it is logged; the answer a client gets is made from it, so a retry can be given the same one."""

from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from beacon_core.product import Product


class Record(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A row of the prediction log, short enough for the spool: one JSON line.

    `given` and `served` have one item a feature, in the product's order, null where the request (or the feature store)
    had nothing; `outside` are the columns outside their training range. `time` is in seconds since 1970.
    """

    id: str
    time: float
    given: list[float | None]
    prediction: float
    low: float
    high: float
    version: str
    sha256: str
    latency: float
    request_id: str
    trace_id: str
    outside: list[int] = []
    served: list[float | None] | None = None
    entity: int | None = None
    shadow_version: str | None = None
    shadow: float | None = None
    body_sha256: str | None = None


KEPT_PATTERNS = 4096
KEPT_MODELS = 16

encode_record = msgspec.json.Encoder().encode
decode_record = msgspec.json.Decoder(Record).decode


class Interval(msgspec.Struct, frozen=True, gc=False):
    """The conformal interval, in the target's unit."""

    low: float
    high: float
    coverage: float


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What a client is told of one prediction."""

    prediction: float
    unit: str
    interval: Interval
    prediction_id: str
    model: msgspec.Raw
    imputed: msgspec.Raw
    out_of_range: list[str]
    sources: msgspec.Raw


class Missing(NamedTuple):
    """How an answer tells where the values came from, as JSON."""

    imputed: msgspec.Raw
    sources: msgspec.Raw


class Wording:
    """Words records as answers. What repeats from row to row is kept as JSON: the model, and what was missing."""

    def __init__(self, product: Product) -> None:
        self._product = product
        self._names = product.feature_names
        self._kept: dict[tuple[bool, ...], Missing] = {}
        self._complete = self._word((False,) * len(self._names))
        self._models: dict[str, msgspec.Raw] = {}

    def answer(self, record: Record) -> Answer:
        """Build the answer of one prediction."""
        if record.served is None and None not in record.given:
            missing = self._complete
        else:
            pattern = tuple([value is None for value in (*record.given, *(record.served or ()))])
            missing = self._kept.get(pattern) or self._word(pattern)
        return Answer(
            record.prediction,
            self._product.target.unit,
            Interval(record.low, record.high, self._product.serving.interval_coverage),
            record.id,
            self._models.get(record.sha256) or self._model(record),
            missing.imputed,
            [self._names[column] for column in record.outside] if record.outside else [],
            missing.sources,
        )

    def _word(self, pattern: tuple[bool, ...]) -> "Missing":
        count = len(self._names)
        served = pattern[count:] or (True,) * count
        sources = {
            name: "store" if missing else "request"
            for name, missing, not_stored in zip(self._names, pattern[:count], served, strict=True)
            if not (missing and not_stored)
        }
        imputed = [name for name in self._names if name not in sources]
        words = Missing(msgspec.Raw(msgspec.json.encode(imputed)), msgspec.Raw(msgspec.json.encode(sources)))
        if len(self._kept) < KEPT_PATTERNS:
            self._kept[pattern] = words
        return words

    def _model(self, record: Record) -> msgspec.Raw:
        model = {"name": self._product.name, "version": record.version, "sha256": record.sha256}
        if len(self._models) > KEPT_MODELS:
            self._models.clear()
        return self._models.setdefault(record.sha256, msgspec.Raw(msgspec.json.encode(model)))


# The columns of the table `predictions` that a record fills, in the order of `table_row`.
COLUMNS = (
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


TIME_DIGITS = len("2026-01-31 12:00:00.000000")


def table_row(record: Record, names: tuple[str, ...]) -> tuple[str | float | None, ...]:
    """Build the values of `COLUMNS` as both databases take them: times and JSON as text; `names` are the features."""
    served, known = record.served, record.given
    if served is not None:
        known = [stored if own is None else own for own, stored in zip(known, served, strict=True)]
    complete = None not in known
    return (
        record.id,
        datetime.fromtimestamp(record.time, UTC).isoformat(" ", "microseconds")[:TIME_DIGITS],
        None if record.entity is None else str(record.entity),
        _named(names, record.given),
        None if served is None else _named(names, served),
        "[]" if complete else _text([name for name, value in zip(names, known, strict=True) if value is None]),
        _text([names[column] for column in record.outside]) if record.outside else "[]",
        record.prediction,
        record.low,
        record.high,
        record.version,
        record.sha256,
        record.shadow_version,
        record.shadow,
        record.latency,
        record.request_id,
        record.trace_id,
        record.body_sha256,
    )


def record_of(row: dict[str, Any], names: tuple[str, ...]) -> Record:
    """Read a row of the table back into the record it was made of."""
    served = row["served"]
    return Record(
        id=row["id"],
        time=row["time"].timestamp(),
        given=[row["features"].get(name) for name in names],
        served=None if served is None else [served.get(name) for name in names],
        prediction=row["prediction"],
        low=row["low"],
        high=row["high"],
        version=row["model_version"],
        sha256=row["model_sha256"],
        latency=row["latency_seconds"],
        request_id=row["request_id"],
        trace_id=row["trace_id"],
        outside=[names.index(name) for name in row["out_of_range"] if name in names],
        entity=None if row["entity"] is None else int(row["entity"]),
        shadow_version=row["shadow_version"],
        shadow=row["shadow_prediction"],
        body_sha256=row["body_sha256"],
    )


def _named(names: tuple[str, ...], values: list[float | None]) -> str:
    named = dict(zip(names, values, strict=True))
    return _text({name: value for name, value in named.items() if value is not None} if None in values else named)


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
