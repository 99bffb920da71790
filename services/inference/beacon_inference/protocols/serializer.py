"""Beacon's own answers, made from records."""

from collections.abc import Iterator
from itertools import repeat
from typing import Any, NamedTuple

import msgspec

from beacon_core.domain.product import Product
from beacon_core.spool.record import Record
from beacon_inference.protocols.messages import PredictionInterval, PredictionResponse

CACHED_ROWS = 4096
CACHED_MODELS = 16
GAP: Any = msgspec.Raw(b"\n")
"""Stands for a row's own value in the JSON of an answer, which has no line feed otherwise."""
encode = msgspec.json.Encoder().encode


class Common(NamedTuple):
    """What many rows' answers have in common: `json` is an answer's, in the pieces between the row's own values."""

    model: msgspec.Raw
    imputed: msgspec.Raw
    out_of_range: list[str]
    sources: msgspec.Raw
    json: list[bytes]


# The names of the features, which of them a row lacks, which came from the feature store, which are out of range.
Kind = tuple[tuple[str, ...], tuple[bool, ...], tuple[int, ...], tuple[int, ...]]


class Serializer:
    """Makes answers from records. What repeats from row to row is made once, and kept for each model that answered."""

    def __init__(self, product: Product) -> None:
        self._name = product.name
        self._unit, self._coverage = product.target.unit, product.training.interval_coverage
        self._models: dict[str, Commons] = {}

    def responses(self, record: Record) -> list[PredictionResponse]:
        """Build the answer to each row."""
        columns = zip(record.prediction, record.low, record.high, record.ids, strict=True)
        return [self._response(common, *own) for common, own in zip(self._commons(record), columns, strict=False)]

    def text(self, record: Record) -> bytes:
        """The answer of a record of one row, as JSON."""
        begin, unit, to, coverage, end = next(self._commons(record)).json
        low, high, name = encode(record.low[0]), encode(record.high[0]), encode(record.ids[0])
        return b"".join((begin, encode(record.prediction[0]), unit, low, to, high, coverage, name, end))

    def texts(self, record: Record) -> list[bytes]:
        """The answers as JSON: what encoding `responses` gives, at a third of its cost."""
        # No number and no id has a comma.
        predictions, lows, highs, ids = (
            encode(column)[1:-1].split(b",") for column in (record.prediction, record.low, record.high, record.ids)
        )
        return [
            b"".join((begin, prediction, unit, low, to, high, coverage, name, end))
            for (begin, unit, to, coverage, end), prediction, low, high, name in zip(
                (common.json for common in self._commons(record)), predictions, lows, highs, ids, strict=False
            )
        ]

    def _commons(self, record: Record) -> Iterator[Common]:
        """What the answer to each row has in common with others; without an end where that is the same for all."""
        made = self._models.get(record.sha256)
        if made is None:
            if len(self._models) > CACHED_MODELS:
                self._models.clear()
            made = self._models.setdefault(record.sha256, Commons())
        names, lacking = record.names, record.lacking()
        if not lacking and not record.from_store and not record.out_of_range:
            usual = made.usual
            if usual is None or (usual[0] is not names and usual[0] != names):
                usual = made.usual = names, self._common(record, (names, (False,) * len(names), (), ()))
            return repeat(usual[1])
        return map(made.rows.__getitem__, self._kinds(record, lacking, made))

    def _kinds(self, record: Record, lacking: dict[int, tuple[bool, ...]], made: "Commons") -> Iterator[Kind]:
        names, from_store, complete = record.names, record.from_store or {}, (False,) * len(record.names)
        for row in range(len(record)):
            stored, out_of_range = tuple(from_store.get(row, ())), tuple(record.out_of_range.get(row, ()))
            kind = names, lacking.get(row, complete), stored, out_of_range
            if kind not in made.rows:
                if len(made.rows) >= CACHED_ROWS:
                    made.rows.clear()
                made.rows[kind] = self._common(record, kind)
            yield kind

    def _common(self, record: Record, kind: Kind) -> Common:
        names, lacking, from_store, out_of_range = kind
        sources = {
            name: "store" if column in from_store else "request"
            for column, name in enumerate(names)
            if not lacking[column]
        }
        common = Common(
            msgspec.Raw(encode({"name": self._name, "version": record.version, "sha256": record.sha256})),
            msgspec.Raw(encode([name for name in names if name not in sources])),
            [names[column] for column in out_of_range],
            msgspec.Raw(encode(sources)),
            [],
        )
        return common._replace(json=encode(self._response(common, GAP, GAP, GAP, GAP)).split(bytes(GAP)))

    def _response(self, common: Common, prediction: float, low: float, high: float, name: str) -> PredictionResponse:
        interval = PredictionInterval(low, high, self._coverage)
        model, imputed, out_of_range, sources, _ = common
        return PredictionResponse(prediction, self._unit, interval, name, model, imputed, out_of_range, sources)


class Commons:
    """What was made for one model: for the usual row, which is complete and within its ranges, and for others."""

    __slots__ = ("rows", "usual")

    def __init__(self) -> None:
        self.usual: tuple[tuple[str, ...], Common] | None = None
        self.rows: dict[Kind, Common] = {}
