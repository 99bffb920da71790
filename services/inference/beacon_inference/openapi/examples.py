"""Examples of requests and their answers. Error examples come from the code that raises the errors in service."""

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import msgspec
import numpy as np

from beacon_core.domain.errors import BeaconError
from beacon_core.domain.product import Product
from beacon_inference.openapi.document import Example, Json
from beacon_inference.prediction.inputs import PredictionInputs
from beacon_inference.prediction.validation import ValidationRules
from beacon_inference.protocols.messages import InferResponse, OutputTensor, PredictionsResponse
from beacon_inference.protocols.mlflow import FORMS
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
        self._rules = ValidationRules(product)
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
        rule = f"no features are known for {key} {NO_ENTITY}"
        return [
            Example("features", "all features", {"features": self.features}, self._answer()),
            Example(
                "imputed",
                "some features: the others are imputed, and the answer says so",
                {"features": some},
                self._answer(some),
            ),
            Example("entity", f"features of a {product.entity.name}, looked up", {"entity": entity}, self._answer({})),
            Example(
                "entity_and_features",
                "both: the request's values win",
                {"entity": entity, "features": {first: self.features[first]}},
                self._answer({first: 0}),
            ),
            Example(
                "own_id",
                "with an id of your own: sent again, it gets the same answer and makes no second record",
                {"features": self.features, "prediction_id": PREDICTION_ID},
                self._answer() | {"prediction_id": PREDICTION_ID},
            ),
            self._refused("misspelt", "a misspelt feature", {"features": {**some, f"{first}M": 1}}),
            self._refused("wrong_type", "a string where a number belongs", {"features": {first: "12"}}),
            self._refused(
                "out_of_range",
                "a value outside its valid range",
                {"features": {**self.features, ranged.name: (ranged.valid or (0, 0))[1] + 1}},
            ),
            self._refused("too_few", "too few features for a prediction", {"features": {first: some[first]}}),
            _error(
                "unknown_entity",
                f"a {product.entity.name} without known features",
                {"entity": unknown},
                BeaconError("unknown_entity", rule, f"entity.{key}"),
            ),
        ]

    def batch(self) -> list[Example]:
        """Examples of /v1/predict/batch."""
        some = dict(list(self.features.items())[: self._product.min_features])
        rows = [{"features": self.features}, {"features": some}]
        bad = {"rows": [*rows, {"features": {**some, "price": 1}}]}
        return [
            Example("rows", "two rows", {"rows": rows}, {"predictions": [self._answer(), self._answer(some)]}),
            self._refused("bad_row", "a bad row is named by its index, counted from 0", bad),
        ]

    def _logged(self) -> Json:
        """The record of the example with an id of its own."""
        names = self._product.feature_names
        return self._answer() | {
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

    def _answer(self, features: dict[str, Any] | None = None) -> Json:
        """Make the answer to these request features; None means that the request had all of them."""
        product, prediction = self._product, self.prediction
        names = product.feature_names if features is None else tuple(features)
        sources = dict.fromkeys(names, "request")
        # With an entity, and that is what few features mean here, the store has the rest.
        if features is not None and len(features) < product.min_features:
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

    def actuals(self) -> list[Example]:
        """Examples of /v1/actuals."""
        product, value = self._product, self.prediction
        by_id = {"prediction_id": PREDICTION_ID, "value": value, "observed_at": MOMENT}
        by_entity = {"entity": {product.entity.key: ENTITY}, "observed_at": MOMENT, "value": value}
        kept = {"outcomes": ["accepted"], "accepted": 1}
        low, high = product.target.valid
        too_high = f"value is {high + 1:g}, valid is {low:g} to {high:g} {product.target.unit}"
        return [
            Example("by_prediction", "the true value of one prediction", by_id, kept),
            Example("by_entity", f"true values of {product.entity.name}s at a time", {"actuals": [by_entity]}, kept),
            _error(
                "out_of_range",
                "a value outside the target's valid range",
                by_id | {"value": high + 1},
                BeaconError("out_of_valid_range", too_high, "value"),
            ),
        ]

    def prediction_log(self) -> list[Example]:
        """Examples of /v1/predictions/{prediction_id}."""
        unknown = BeaconError("unknown_prediction", "no prediction has the id nobody", "prediction_id")
        return [
            Example("known", "a logged prediction", None, self._logged()),
            _error("unknown", "an unknown id", None, unknown),
        ]

    def infer(self) -> list[Example]:
        """Examples of Open Inference's /infer."""
        name, value = self._product.name, self.prediction
        tensor = {"name": "input-0", "shape": [1, len(self.values)], "datatype": "FP64", "data": [self.values]}
        one = {"shape": [1], "datatype": "FP64"}
        columns = [{"name": feature, **one, "data": [given]} for feature, given in self.features.items()]
        entity = {"name": self._product.entity.key, "shape": [1], "datatype": "INT64", "data": [ENTITY]}
        numbers = {"prediction": value, "low": value - 3, "high": value + 4}
        outputs = [OutputTensor(output, "FP64", [1], data=[number]) for output, number in numbers.items()]
        every = [*outputs, OutputTensor("prediction_id", "BYTES", [1], data=[REQUEST_ID])]
        return [
            Example(
                "tensor",
                "one tensor, values in feature order",
                {"inputs": [tensor]},
                InferResponse(name, VERSION, every),
            ),
            Example(
                "columns",
                "one named tensor per feature, and only the output that is wanted",
                {"id": "a-1", "inputs": columns, "outputs": [{"name": "prediction"}]},
                InferResponse(name, VERSION, outputs[:1], "a-1"),
            ),
            Example("entity", "features looked up", {"inputs": [entity]}, InferResponse(name, VERSION, every)),
            _error(
                "no_inputs",
                "nothing to predict",
                {"inputs": []},
                BeaconError("invalid_body", "send at least one input", "inputs"),
            ),
        ]

    def v1(self) -> list[Example]:
        """Examples of V1's :predict."""
        columns, answer = self._columns(), PredictionsResponse([self.prediction])
        return [
            Example("instances", "rows in feature order", {"instances": [self.values]}, answer),
            Example("objects", "rows of named features", {"instances": [self.features]}, answer),
            Example("columns", "named columns", {"inputs": columns}, answer),
            _error(
                "nothing",
                "neither instances nor inputs",
                {},
                BeaconError("invalid_body", "send either instances or inputs", "instances"),
            ),
        ]

    def mlflow(self) -> list[Example]:
        """Examples of /invocations."""
        names, values, answer = list(self.features), self.values, PredictionsResponse([self.prediction])
        csv = f"{','.join(names)}\n{','.join(map(str, values))}\n"
        rule = f"send exactly one of {', '.join(FORMS)}"
        two_forms = BeaconError("invalid_body", rule).body(REQUEST_ID) | {"error_code": "BAD_REQUEST", "message": rule}
        split = {"dataframe_split": {"columns": names, "data": [values]}}
        return [
            Example("dataframe_split", "columns and rows", split, answer),
            Example("dataframe_records", "rows of named values", {"dataframe_records": [self.features]}, answer),
            Example("instances", "rows in feature order", {"instances": [values]}, answer),
            Example("inputs", "named columns", {"inputs": self._columns()}, answer),
            Example("csv", "CSV with a header line", csv, answer, content_type="text/csv"),
            Example("two_forms", "two forms at once", {"instances": [values], "inputs": [values]}, two_forms, 400),
        ]

    def _columns(self) -> Json:
        return {name: [value] for name, value in self.features.items()}

    def _refused(self, name: str, summary: str, body: Json) -> Example:
        parse = self._parser.batch if "rows" in body else self._parser.row
        error = _refusal(lambda: self._check(parse(msgspec.json.encode(body))))
        return _error(name, summary, body, error)

    def _check(self, inputs: PredictionInputs) -> None:
        self._rules.check(inputs)
        self._rules.check_enough(~np.isnan(inputs.matrix), inputs)


def _error(name: str, summary: str, body: Any, error: BeaconError) -> Example:
    return Example(name, summary, body, error.body(REQUEST_ID), error.status)


def _refusal(check: Callable[[], None]) -> BeaconError:
    try:
        check()
    except BeaconError as error:
        return error
    raise AssertionError("an example of an error is no error")


def _plain(value: float) -> float:
    """Write 4, not 4.0: it is read by people."""
    return int(value) if float(value).is_integer() else value
