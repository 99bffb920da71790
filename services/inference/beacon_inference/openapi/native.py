"""Beacon's own routes: predictions and the prediction log."""

from beacon_core.domain.errors import BeaconError
from beacon_core.domain.product import Product
from beacon_core.platform.settings import Settings
from beacon_inference.openapi.examples import ENTITY, MOMENT, PREDICTION_ID, REQUEST_ID, Examples
from beacon_inference.openapi.operations import (
    BODY,
    IDEMPOTENCY_KEY,
    PREDICTED_HEADERS,
    ROWS,
    SYNTHETIC,
    TRACE_HEADERS,
    Example,
    Json,
    answers,
    path_parameter,
    ref,
    request_body,
)

JSON = "application/json"
LOG = ("overloaded", "prediction_log_unavailable", "unauthorized")


def native_paths(product: Product, settings: Settings, examples: Examples) -> Json:
    """Describe the routes."""
    one, batch = examples.one(), examples.batch()
    return {
        "/v1/predict": {
            "post": {
                "operationId": "predict",
                "tags": ["predict"],
                "summary": f"Predict {product.target.name} for one {product.entity.name}",
                "parameters": [IDEMPOTENCY_KEY, SYNTHETIC, *TRACE_HEADERS],
                "requestBody": request_body({JSON: ref("PredictRequest")}, one),
                "responses": answers(ref("Prediction"), "The prediction.", one, BODY + ROWS, headers=PREDICTED_HEADERS),
            }
        },
        "/v1/predict/batch": {
            "post": {
                "operationId": "predict_batch",
                "tags": ["predict"],
                "summary": f"Predict up to {settings.max_batch_rows} rows",
                "description": "Answers come in the order of the rows. One bad row refuses the whole batch.",
                "parameters": [IDEMPOTENCY_KEY, SYNTHETIC, *TRACE_HEADERS],
                "requestBody": request_body({JSON: ref("BatchRequest")}, batch),
                "responses": answers(
                    ref("BatchPrediction"),
                    "The predictions.",
                    batch,
                    (*BODY, *ROWS, "batch_too_large"),
                    headers=PREDICTED_HEADERS,
                ),
            }
        },
        "/v1/actuals": {"post": _actuals(product, settings, examples)},
        "/v1/predictions/{prediction_id}": {"get": _prediction(examples)},
    }


def _actuals(product: Product, settings: Settings, examples: Examples) -> Json:
    entity = {product.entity.key: ENTITY}
    by_id = {"prediction_id": PREDICTION_ID, "value": examples.prediction, "observed_at": MOMENT}
    by_entity = {"entity": entity, "observed_at": MOMENT, "value": examples.prediction}
    kept = {"outcomes": ["accepted"], "accepted": 1}
    low, high = product.target.valid
    too_high = f"value is {high + 1:g}, valid is {low:g} to {high:g} {product.target.unit}"
    shown = [
        Example("by_prediction", "the true value of one prediction", by_id, kept),
        Example("by_entity", f"true values of {product.entity.name}s at a time", {"actuals": [by_entity]}, kept),
        Example(
            "out_of_range",
            "a value that cannot be",
            by_id | {"value": high + 1},
            BeaconError("out_of_valid_range", too_high, "value").body(REQUEST_ID),
            422,
        ),
    ]
    codes = (
        *BODY,
        "invalid_type",
        "not_finite",
        "out_of_valid_range",
        "invalid_entity",
        "invalid_id",
        "batch_too_large",
        "unknown_prediction",
        *LOG,
    )
    return {
        "operationId": "actuals",
        "tags": ["prediction log"],
        "summary": f"Send true values, one or up to {settings.max_batch_rows}",
        "description": "A later value for the same prediction corrects the earlier one.",
        "security": [{}, {"key": []}],
        "parameters": TRACE_HEADERS,
        "requestBody": request_body({JSON: {"anyOf": [ref("Actual"), ref("Actuals")]}}, shown),
        "responses": answers(ref("ActualsKept"), "What became of each.", shown, codes),
    }


def _prediction(examples: Examples) -> Json:
    unknown = BeaconError("unknown_prediction", "no prediction has the id nobody", "prediction_id").body(REQUEST_ID)
    shown = [
        Example("known", "a prediction that was given", None, examples.logged()),
        Example("unknown", "an id that was never given", None, unknown, 404),
    ]
    parameter = path_parameter("prediction_id", "Id of the prediction, as its answer says.", PREDICTION_ID)
    del parameter["example"]
    parameter["examples"] = {"known": {"value": PREDICTION_ID}, "unknown": {"value": "nobody"}}
    return {
        "operationId": "prediction",
        "tags": ["prediction log"],
        "summary": "One prediction, as it was given, with its true value once there is one",
        "security": [{}, {"key": []}],
        "parameters": [parameter, *TRACE_HEADERS],
        "responses": answers(ref("LoggedPrediction"), "The record.", shown, ("unknown_prediction", *LOG)),
    }
