"""Beacon's own answers, made from records."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from beacon_core.domain.product import Product
from beacon_inference.prediction_log.record import Record, Values
from beacon_inference.protocols.messages import PredictionInterval, PredictionResponse

# The names of the features, which of them a row lacks, and the columns that came from the feature store.
Pattern = tuple[tuple[str, ...], tuple[bool, ...], tuple[int, ...]]

CACHED_PATTERNS = 4096
CACHED_MODELS = 16


class Sources(NamedTuple):
    """Where the values came from, as JSON: which were imputed, and the source of each other."""

    imputed: msgspec.Raw
    sources: msgspec.Raw


class Serializer:
    """Makes answers from records. The model and the sources, which repeat from row to row, are cached as JSON."""

    def __init__(self, product: Product) -> None:
        self._product = product
        self._cache: dict[Pattern, Sources] = {}
        names = product.feature_names
        self._complete = names, self._encode((names, (False,) * len(names), ()))
        self._models: dict[str, msgspec.Raw] = {}

    def responses(self, record: Record) -> list[PredictionResponse]:
        """Build the answer to each row."""
        unit, coverage = self._product.target.unit, self._product.training.interval_coverage
        model = self._models.get(record.sha256) or self._model(record)
        from_store, answers, names = record.from_store or {}, [], record.names
        complete = self._complete[1] if names == self._complete[0] else None
        for row, values in enumerate(record.features):
            stored = from_store.get(row, ())
            found = complete if complete and not stored and None not in values else self._sources(names, values, stored)
            out_of_range = [names[column] for column in record.out_of_range.get(row, ())]
            interval = PredictionInterval(record.low[row], record.high[row], coverage)
            prediction, name = record.prediction[row], record.ids[row]
            answers.append(
                PredictionResponse(prediction, unit, interval, name, model, found.imputed, out_of_range, found.sources)
            )
        return answers

    def _sources(self, names: tuple[str, ...], values: Values, from_store: Sequence[int]) -> Sources:
        pattern = names, tuple([value is None for value in values]), tuple(from_store)
        return self._cache.get(pattern) or self._encode(pattern)

    def _encode(self, pattern: Pattern) -> Sources:
        names, missing, from_store = pattern
        sources = {
            name: "store" if column in from_store else "request"
            for column, name in enumerate(names)
            if not missing[column]
        }
        imputed = [name for name in names if name not in sources]
        found = Sources(msgspec.Raw(msgspec.json.encode(imputed)), msgspec.Raw(msgspec.json.encode(sources)))
        if len(self._cache) < CACHED_PATTERNS:
            self._cache[pattern] = found
        return found

    def _model(self, record: Record) -> msgspec.Raw:
        model = {"name": self._product.name, "version": record.version, "sha256": record.sha256}
        if len(self._models) > CACHED_MODELS:
            self._models.clear()
        return self._models.setdefault(record.sha256, msgspec.Raw(msgspec.json.encode(model)))
