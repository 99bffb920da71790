"""Examples of requests and their answers. Error examples come from the code that raises the errors in service."""

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

import msgspec
import numpy as np

from beacon_core.domain.errors import BeaconError
from beacon_core.domain.product import Product
from beacon_core.domain.value_rules import ValueRules
from beacon_inference.explanation.handler import ID_ALONE
from beacon_inference.openapi.document import Example, Json
from beacon_inference.openapi.example_values import (
    beyond,
    csv_text,
    entity_example,
    ordinary_prediction,
    unknown_entity,
    unknown_level,
    unknown_name,
)
from beacon_inference.prediction.inputs import PredictionInputs
from beacon_inference.prediction.validation import ValidationRules
from beacon_inference.prediction.values import parse_target_value
from beacon_inference.protocols.messages import InferResponse, OutputTensor, PredictionsResponse
from beacon_inference.protocols.mlflow import FORMS
from beacon_inference.protocols.native_parser import NativeParser
from beacon_inference.protocols.tensor_data import datatype_of

REQUEST_ID = "5f1c9d2e7a3b48c6901e4d7f2a6b8c05"
PREDICTION_ID = "example-1"
MOMENT = "2026-01-31T12:00:00Z"
VERSION = "1"
OK = 200


class Examples:
    """Examples for every protocol, made of the features' ordinary values."""

    def __init__(self, product: Product) -> None:
        self._product = product
        self._parser = NativeParser(product, max_rows=10)
        self._rules = ValidationRules(product)
        self.features = {feature.name: feature.example for feature in product.features}
        self.values = list(self.features.values())
        self.prediction, self.low, self.high = ordinary_prediction(product.target)
        needed = [feature.name for feature in product.features if not feature.nullable]
        names = [*needed, *(name for name in self.features if name not in needed)]
        self._some = {name: self.features[name] for name in names[: max(product.min_features, len(needed))]}
        self._unknown_name = unknown_name(product)

    def one(self) -> list[Example]:
        """Examples of /v1/predict."""
        some = self._some
        few = dict(list(some.items())[: max(self._product.min_features - 1, 0)])
        return [
            Example("features", "all features", {"features": self.features}, self._answer(self.features)),
            Example(
                "imputed",
                "some features: the others are imputed, and the answer says so",
                {"features": some},
                self._answer(some),
            ),
            *self._with_entity(),
            Example(
                "own_id",
                "with an id of your own: sent again, it gets the same answer and makes no second record",
                {"features": self.features, "prediction_id": PREDICTION_ID},
                self._answer(self.features) | {"prediction_id": PREDICTION_ID},
            ),
            self._refused("misspelt", "a misspelt feature", {"features": {**some, self._unknown_name: 1}}),
            self._wrong_type(),
            *self._wrong_values(),
            self._refused("too_few", "too few features for a prediction", {"features": few}),
        ]

    def _with_entity(self) -> list[Example]:
        entity = self._product.entity
        if entity is None:
            return []
        first = self._product.features[0].name
        known, unknown = entity_example(entity), unknown_entity(entity)
        shown = ", ".join(f"{name} {value}" for name, value in unknown.items())
        field = f"entity.{entity.keys[0]}" if len(entity.keys) == 1 else "entity"
        return [
            Example(
                "entity",
                f"features of a {entity.name}, looked up",
                {"entity": known},
                self._answer({}, stored=True),
            ),
            Example(
                "entity_and_features",
                "both: the request's values win",
                {"entity": known, "features": {first: self.features[first]}},
                self._answer({first: 0}, stored=True),
            ),
            _error(
                "unknown_entity",
                f"a {entity.name} without known features",
                {"entity": unknown},
                BeaconError("unknown_entity", f"no features are known for {shown}", field),
            ),
        ]

    def _wrong_type(self) -> Example:
        """Text where a number belongs, or a number where text belongs."""
        feature = next((f for f in self._product.features if not f.is_text), self._product.features[0])
        summary = "a number where text belongs" if feature.is_text else "a string where a number belongs"
        value = 12 if feature.is_text else "12"
        if feature.type == "bool":
            summary = "a string where true or false belongs"
        return self._refused("wrong_type", summary, {"features": {feature.name: value}})

    def _wrong_values(self) -> list[Example]:
        """A value out of its range and a level that is not known, as far as the product has such features."""
        ranged = {f.name: value for f in self._product.features if (value := beyond(f)) is not None}
        levels = {f.name: unknown_level(f) for f in self._product.features if f.known_levels and f.other is None}
        found = []
        for name, summary, wrong in (
            ("out_of_range", "a value outside its valid range", ranged),
            ("unknown_level", "a value that is not one of the levels", levels),
        ):
            if wrong:
                feature, value = next(iter(wrong.items()))
                found.append(self._refused(name, summary, {"features": {**self.features, feature: value}}))
        return found

    def batch(self) -> list[Example]:
        """Examples of /v1/predict/batch."""
        some = self._some
        rows = [{"features": self.features}, {"features": some}]
        bad = {"rows": [*rows, {"features": {**some, self._unknown_name: 1}}]}
        answers = [self._answer(self.features), self._answer(some)]
        return [
            Example("rows", "two rows", {"rows": rows}, {"predictions": answers}),
            self._refused("bad_row", "a bad row is named by its index, counted from 0", bad),
        ]

    def explain(self) -> list[Example]:
        """Examples of /v1/explain."""
        some, names = self._some, self._product.feature_names
        unknown = BeaconError("unknown_prediction", "no prediction has the id nobody", "prediction_id")
        both = {"features": some, "prediction_id": PREDICTION_ID}
        return [
            Example("features", "a row, as /v1/predict has it", {"features": self.features}, _whys(self._why(names))),
            Example(
                "rows",
                "several rows",
                {"rows": [{"features": self.features}, {"features": some}]},
                _whys(self._why(names), self._why(tuple(some))),
            ),
            *self._explained_entity(),
            Example(
                "logged",
                "a logged prediction, by the model that made it",
                {"prediction_id": PREDICTION_ID},
                _whys(self._why(names) | {"prediction_id": PREDICTION_ID}),
            ),
            self._refused("misspelt", "a misspelt feature", {"features": {**some, self._unknown_name: 1}}),
            _error("unknown", "an unknown id", {"prediction_id": "nobody"}, unknown),
            _error("both", "an id and features", both, BeaconError("invalid_body", ID_ALONE, "prediction_id")),
        ]

    def _explained_entity(self) -> list[Example]:
        entity = self._product.entity
        if entity is None:
            return []
        why = self._why(())
        for contribution in why["contributions"]:
            contribution["source"] = "store"
        summary = f"features of a {entity.name}, looked up"
        return [Example("entity", summary, {"entity": entity_example(entity)}, _whys(why))]

    def _why(self, known: tuple[str, ...]) -> Json:
        """An explanation of a row with these features: each adds the same."""
        names = self._product.feature_names
        base, decimals = self.low, 6
        step = round((self.prediction - base) / len(names), decimals)
        contributions = [
            {
                "feature": name,
                "contribution": step,
                "standard_error": None,
                "value": self.features[name],
                "source": "request" if name in known else "imputed",
            }
            for name in names
        ]
        answer = self._answer({})
        return {
            "prediction": self.prediction,
            "base": base,
            "unit": answer["unit"],
            "contributions": contributions,
            "method": "exact",
            "samples": None,
            "scale": "linear",
            "prediction_id": None,
            "model": answer["model"],
        }

    def _logged(self) -> Json:
        """The record of the example with an id of its own."""
        return self._answer(self.features) | {
            "prediction_id": PREDICTION_ID,
            "time": MOMENT,
            "entity": None,
            "features": self.features,
            "served": None,
            "shadow": None,
            "latency_seconds": 0.0004,
            "request_id": REQUEST_ID,
            "trace_id": REQUEST_ID,
            "client": None,
            "actual": {"value": self.prediction, "observed_at": MOMENT, "received_at": MOMENT, "source": "api"},
        }

    def _answer(self, features: Mapping[str, Any], *, stored: bool = False) -> Json:
        """Make the answer to these request features; the feature store has the others, or nothing has."""
        product = self._product
        sources = {name: "request" for name in product.feature_names if name in features}
        if stored:
            sources = {name: sources.get(name, "store") for name in product.feature_names}
        return {
            "prediction": self.prediction,
            "unit": product.target.unit,
            "interval": {"low": self.low, "high": self.high, "coverage": product.training.interval_coverage},
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
        kept = {"outcomes": ["accepted"], "accepted": 1}
        found = [Example("by_prediction", "the true value of one prediction", by_id, kept)]
        if product.entity is not None:
            by_entity = {"entity": entity_example(product.entity), "observed_at": MOMENT, "value": value}
            summary = f"true values of {product.entity.name}s at a time"
            found.append(Example("by_entity", summary, {"actuals": [by_entity]}, kept))
        wrong = beyond(ValueRules(valid=product.target.valid))
        if wrong is not None:
            found.append(
                _error(
                    "out_of_range",
                    "a value outside the target's valid range",
                    by_id | {"value": wrong},
                    _refusal(lambda: parse_target_value(wrong, product, "value")),
                )
            )
        return found

    def prediction_log(self) -> list[Example]:
        """Examples of /v1/predictions/{prediction_id}."""
        unknown = BeaconError("unknown_prediction", "no prediction has the id nobody", "prediction_id")
        return [
            Example("known", "a logged prediction", None, self._logged()),
            _error("unknown", "an unknown id", None, unknown),
        ]

    def infer(self) -> list[Example]:
        """Examples of Open Inference's /infer."""
        product, name = self._product, self._product.name
        numbers = {"prediction": self.prediction, "low": self.low, "high": self.high}
        outputs = [OutputTensor(output, "FP64", [1], data=[number]) for output, number in numbers.items()]
        every = [*outputs, OutputTensor("prediction_id", "BYTES", [1], data=[REQUEST_ID])]
        columns = [
            {"name": feature.name, "shape": [1], "datatype": datatype_of(feature), "data": [feature.example]}
            for feature in product.features
        ]
        found = [
            Example(
                "columns",
                "one named tensor per feature, and only the output that is wanted",
                {"id": "a-1", "inputs": columns, "outputs": [{"name": "prediction"}]},
                InferResponse(name, VERSION, outputs[:1], "a-1"),
            ),
            Example(
                "explained",
                "and what each feature adds to the prediction",
                {"inputs": columns, "parameters": {"explain": True}},
                InferResponse(name, VERSION, [*every, *self._explained_outputs()]),
            ),
            _error(
                "explain_what",
                "a parameter that is neither true nor false",
                {"inputs": columns, "parameters": {"explain": "yes"}},
                BeaconError("invalid_type", "explain must be true or false", "parameters.explain"),
            ),
            _error(
                "no_inputs",
                "nothing to predict",
                {"inputs": []},
                BeaconError("invalid_body", "send at least one input", "inputs"),
            ),
        ]
        if all(feature.is_number for feature in product.features):
            tensor = {"name": "input-0", "shape": [1, len(self.values)], "datatype": "FP64", "data": [self.values]}
            summary = "one tensor, values in feature order"
            found.append(Example("tensor", summary, {"inputs": [tensor]}, InferResponse(name, VERSION, every)))
        if product.entity is not None:
            keys = [
                {
                    "name": key,
                    "shape": [1],
                    "datatype": "BYTES" if isinstance(value, str) else "INT64",
                    "data": [value],
                }
                for key, value in entity_example(product.entity).items()
            ]
            found.append(Example("entity", "features looked up", {"inputs": keys}, InferResponse(name, VERSION, every)))
        return found

    def _explained_outputs(self) -> list[OutputTensor]:
        why = self._why(self._product.feature_names)
        sizes = [each["contribution"] for each in why["contributions"]]
        names = [each["feature"] for each in why["contributions"]]
        return [
            OutputTensor("base", "FP64", [1], data=[why["base"]]),
            OutputTensor("contributions", "FP64", [1, len(sizes)], data=sizes),
            OutputTensor("contribution_features", "BYTES", [len(names)], data=names),
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

    def v1_explain(self) -> list[Example]:
        """Examples of V1's :explain."""
        answer = {"predictions": [self.prediction]} | _whys(self._why(self._product.feature_names))
        return [
            Example("instances", "rows in feature order", {"instances": [self.values]}, answer),
            *(example for example in self.v1() if example.status != OK),
        ]

    def mlflow(self) -> list[Example]:
        """Examples of /invocations."""
        names, values, answer = list(self.features), self.values, PredictionsResponse([self.prediction])
        csv = csv_text(names, values)
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


def _whys(*explanations: Json) -> Json:
    return {"explanations": list(explanations)}


def _error(name: str, summary: str, body: Any, error: BeaconError) -> Example:
    return Example(name, summary, body, error.body(REQUEST_ID), error.status)


def _refusal(check: Callable[[], object]) -> BeaconError:
    try:
        check()
    except BeaconError as error:
        return error
    raise AssertionError("an example of an error is no error")
