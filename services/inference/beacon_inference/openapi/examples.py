"""Examples of requests and their answers. Errors are raised by the very code that raises them in service."""

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import msgspec
import numpy as np

from beacon_core.domain.errors import BeaconError
from beacon_core.domain.product import Product
from beacon_inference.openapi.operations import Example, Json
from beacon_inference.prediction.inputs import Ask
from beacon_inference.prediction.validation import Rules
from beacon_inference.protocols.native_parser import NativeParser

REQUEST_ID = "5f1c9d2e7a3b48c6901e4d7f2a6b8c05"
PREDICTION_ID = "example-1"
ENTITY = 17
NO_ENTITY = 999_999_999
MOMENT = "2026-01-31T12:00:00Z"
VERSION = "1"


class Examples:
    """Examples for every protocol, made of the features' ordinary values."""

    def __init__(self, product: Product) -> None:
        self._product = product
        self._parser = NativeParser(product, max_rows=10)
        self._rules = Rules(product)
        self.features = {feature.name: _plain(feature.example) for feature in product.features}
        self.values = list(self.features.values())
        self.prediction = round((product.target.low + product.target.high) / 2, 1)

    def one(self) -> list[Example]:
        """Examples of /v1/predict."""
        product, first = self._product, self._product.features[0].name
        needed = [feature.name for feature in sorted(product.features, key=lambda feature: feature.nullable)]
        some = {name: self.features[name] for name in needed[: product.min_features]}
        key, entity = product.entity.key, {product.entity.key: ENTITY}
        ranged = next(feature for feature in product.features if feature.valid is not None)
        unknown = {product.entity.key: NO_ENTITY}
        words = f"no features are known for {key} {NO_ENTITY}"
        return [
            Example("features", "all features", {"features": self.features}, self.answer()),
            Example(
                "imputed",
                "some features: the others are imputed, and the answer says so",
                {"features": some},
                self.answer(some),
            ),
            Example("entity", f"features of a {product.entity.name}, looked up", {"entity": entity}, self.answer({})),
            Example(
                "entity_and_features",
                "both: the request's values win",
                {"entity": entity, "features": {first: self.features[first]}},
                self.answer({first: 0}),
            ),
            Example(
                "own_id",
                "with an id of your own: sent again, it gets the same answer and makes no second record",
                {"features": self.features, "prediction_id": PREDICTION_ID},
                self.answer() | {"prediction_id": PREDICTION_ID},
            ),
            self._refused("misspelt", "a misspelt feature", {"features": {**some, f"{first}M": 1}}),
            self._refused("wrong_type", "a string where a number belongs", {"features": {first: "12"}}),
            self._refused(
                "out_of_range",
                "a value outside its valid range",
                {"features": {**self.features, ranged.name: (ranged.valid or (0, 0))[1] + 1}},
            ),
            self._refused("too_few", "too few features to be worth an answer", {"features": {first: some[first]}}),
            Example(
                "unknown_entity",
                f"a {product.entity.name} that nothing is known of",
                {"entity": unknown},
                BeaconError("unknown_entity", words, f"entity.{key}").body(REQUEST_ID),
                404,
            ),
        ]

    def batch(self) -> list[Example]:
        """Examples of /v1/predict/batch."""
        some = dict(list(self.features.items())[: self._product.min_features])
        rows = [{"features": self.features}, {"features": some}]
        bad = {"rows": [*rows, {"features": {**some, "price": 1}}]}
        return [
            Example("rows", "two rows", {"rows": rows}, {"predictions": [self.answer(), self.answer(some)]}),
            self._refused("bad_row", "a bad row is named by its index, counted from 0", bad),
        ]

    def logged(self) -> Json:
        """The record of the example with an id of its own."""
        names = self._product.feature_names
        return self.answer() | {
            "prediction_id": PREDICTION_ID,
            "time": MOMENT,
            "entity": None,
            "features": dict(zip(names, self.values, strict=True)),
            "served": None,
            "shadow": None,
            "latency_seconds": 0.0004,
            "request_id": REQUEST_ID,
            "trace_id": REQUEST_ID,
            "actual": {"value": self.prediction, "observed_at": MOMENT, "received_at": MOMENT, "source": "api"},
        }

    def answer(self, given: dict[str, Any] | None = None) -> Json:
        """Word a prediction as it is answered; no features `given` means: all came from the store."""
        product, prediction = self._product, self.prediction
        names = product.feature_names if given is None else tuple(given)
        sources = dict.fromkeys(names, "request")
        # With an entity, and that is what few features mean here, the store has the rest.
        if given is not None and len(given) < product.min_features:
            sources = {name: sources.get(name, "store") for name in product.feature_names}
        return {
            "prediction": prediction,
            "unit": product.target.unit,
            "interval": {"low": prediction - 3, "high": prediction + 4, "coverage": product.training.interval_coverage},
            "prediction_id": "0199f2c4a1b27d3e5f60718293a4b5c6",
            "model": {"name": product.name, "version": VERSION, "sha256": sha256(product.name.encode()).hexdigest()},
            "imputed": [name for name in product.feature_names if name not in sources],
            "out_of_range": [],
            "sources": sources,
        }

    def _refused(self, name: str, summary: str, body: Json) -> Example:
        parse = self._parser.batch if "rows" in body else self._parser.row
        error = _refusal(lambda: self._check(parse(msgspec.json.encode(body))))
        return Example(name, summary, body, error.body(REQUEST_ID), error.status)

    def _check(self, ask: Ask) -> None:
        self._rules.check(ask)
        self._rules.check_enough(~np.isnan(ask.matrix), ask)


def _refusal(ask: Callable[[], None]) -> BeaconError:
    try:
        ask()
    except BeaconError as error:
        return error
    raise AssertionError("an example of an error is no error")


def _plain(value: float) -> float:
    """Write 4, not 4.0: it is read by people."""
    return int(value) if float(value).is_integer() else value
