"""One prediction as it is logged; the answer a client gets is made from it, so a retry can be given the same one."""

from datetime import UTC, datetime
from typing import Any

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
    imputed: list[str]
    out_of_range: list[str]
    sources: dict[str, str]


class Wording:
    """Words records as answers. Which values were missing repeats from row to row, so its wording is kept."""

    def __init__(self, product: Product) -> None:
        self._product = product
        self._names = product.feature_names
        self._kept: dict[tuple[bool, ...], tuple[dict[str, str], list[str]]] = {}
        self._models: dict[str, msgspec.Raw] = {}

    def answer(self, record: Record) -> Answer:
        """Build the answer of one prediction."""
        pattern = tuple([value is None for value in record.given])
        if record.served is not None:
            pattern += tuple([value is None for value in record.served])
        sources, imputed = self._kept.get(pattern) or self._word(pattern)
        return Answer(
            record.prediction,
            self._product.target.unit,
            Interval(record.low, record.high, self._product.serving.interval_coverage),
            record.id,
            self._models.get(record.sha256) or self._model(record),
            imputed,
            [self._names[column] for column in record.outside],
            sources,
        )

    def _word(self, pattern: tuple[bool, ...]) -> tuple[dict[str, str], list[str]]:
        count = len(self._names)
        served = pattern[count:] or (True,) * count
        sources = {
            name: "store" if missing else "request"
            for name, missing, not_stored in zip(self._names, pattern[:count], served, strict=True)
            if not (missing and not_stored)
        }
        words = (sources, [name for name in self._names if name not in sources])
        if len(self._kept) < KEPT_PATTERNS:
            self._kept[pattern] = words
        return words

    def _model(self, record: Record) -> msgspec.Raw:
        model = {"name": self._product.name, "version": record.version, "sha256": record.sha256}
        if len(self._models) > KEPT_MODELS:
            self._models.clear()
        return self._models.setdefault(record.sha256, msgspec.Raw(msgspec.json.encode(model)))


def table_row(record: Record, names: tuple[str, ...]) -> dict[str, Any]:
    """Build the row of the table `predictions`; `names` are the features in order."""
    served = record.served or [None] * len(names)
    known = [own is not None or stored is not None for own, stored in zip(record.given, served, strict=True)]
    return {
        "id": record.id,
        "time": datetime.fromtimestamp(record.time, UTC),
        "entity": None if record.entity is None else str(record.entity),
        "features": _named(names, record.given),
        "served": None if record.served is None else _named(names, record.served),
        "imputed": [name for name, has in zip(names, known, strict=True) if not has],
        "out_of_range": [names[column] for column in record.outside],
        "prediction": record.prediction,
        "low": record.low,
        "high": record.high,
        "model_version": record.version,
        "model_sha256": record.sha256,
        "shadow_version": record.shadow_version,
        "shadow_prediction": record.shadow,
        "latency_seconds": record.latency,
        "request_id": record.request_id,
        "trace_id": record.trace_id,
        "body_sha256": record.body_sha256,
    }


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


def _named(names: tuple[str, ...], values: list[float | None]) -> dict[str, float]:
    return {name: value for name, value in zip(names, values, strict=True) if value is not None}
