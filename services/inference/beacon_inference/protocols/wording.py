"""Beacon's own answers, made of records."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from beacon_core.domain.product import Product
from beacon_inference.prediction_log.record import Record, Values

# Which features a row lacks, and the columns that came from the feature store.
Pattern = tuple[tuple[bool, ...], tuple[int, ...]]

KEPT_PATTERNS = 4096
KEPT_MODELS = 16


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
        self._kept: dict[Pattern, Missing] = {}
        self._complete = self._word(((False,) * len(self._names), ()))
        self._models: dict[str, msgspec.Raw] = {}

    def answers(self, record: Record) -> list[Answer]:
        """Build the answer to each row."""
        unit, coverage = self._product.target.unit, self._product.serving.interval_coverage
        model = self._models.get(record.sha256) or self._model(record)
        from_store, answers = record.from_store or {}, []
        for row, values in enumerate(record.features):
            stored = from_store.get(row, ())
            words = self._complete if not stored and None not in values else self._missing(values, stored)
            outside = [self._names[column] for column in record.out_of_range.get(row, ())]
            interval = Interval(record.low[row], record.high[row], coverage)
            prediction, name = record.prediction[row], record.ids[row]
            answers.append(Answer(prediction, unit, interval, name, model, words.imputed, outside, words.sources))
        return answers

    def _missing(self, values: Values, from_store: Sequence[int]) -> Missing:
        pattern = tuple([value is None for value in values]), tuple(from_store)
        return self._kept.get(pattern) or self._word(pattern)

    def _word(self, pattern: Pattern) -> Missing:
        missing, from_store = pattern
        sources = {
            name: "store" if column in from_store else "request"
            for column, name in enumerate(self._names)
            if not missing[column]
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
