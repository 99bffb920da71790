"""Routes of the protocols that others made: Open Inference v2, V1, MLflow."""

from typing import Any

from beacon_core.domain.errors import BeaconError
from beacon_core.domain.product import Product
from beacon_core.platform.settings import Settings
from beacon_inference.openapi.examples import ENTITY, REQUEST_ID, VERSION, Examples
from beacon_inference.openapi.operations import (
    BODY,
    IDEMPOTENCY_KEY,
    PREDICTED_HEADERS,
    ROWS,
    SYNTHETIC,
    TABLE,
    TRACE_HEADERS,
    Example,
    Json,
    answers,
    path_parameter,
    ref,
    request_body,
)

JSON, BINARY, CSV = "application/json", "application/octet-stream", "text/csv"
BYTES: Json = {"type": "string", "format": "binary"}
CSV_TABLE: Json = {
    "type": "string",
    "description": "A header line and rows; blank lines are skipped. A missing value is empty, or a word that pandas "
    "reads so: NA, NaN, null, None, #N/A and the others. An entity's key is a whole number.",
}
MODEL_CODES = ("unknown_model", "model_not_ready", "overloaded")


def foreign_paths(product: Product, settings: Settings, examples: Examples) -> Json:
    """Describe the routes."""
    name = path_parameter("name", "Name of the model.", product.name)
    version = path_parameter("version", "Version of the model: the one in service.", VERSION)
    return (
        _open_inference(product, settings.build_version, examples, name, version)
        | _v1(product, examples, name)
        | _mlflow(examples)
    )


def _get(tag: str, summary: str, responses: Json, *parameters: Json) -> Json:
    return {"get": {"tags": [tag], "summary": summary, "parameters": [*parameters], "responses": responses}}


def _fixed(answer: Json, codes: tuple[str, ...] = ("overloaded",)) -> Json:
    """Answers of a route that gives one body."""
    properties = {key: {"type": _json_type(value)} for key, value in answer.items()}
    kind = {"type": "object", "properties": properties, "required": list(answer)}
    return answers(kind, "As the example.", [Example("answer", "", None, answer)], codes)


def _json_type(value: Any) -> str:
    return {bool: "boolean", str: "string", list: "array"}[type(value)]


def _open_inference(product: Product, build: str, examples: Examples, name: Json, version: Json) -> Json:
    tag = "open inference v2"
    infer = _infer(product, examples)
    metadata = answers(ref("ModelMetadata"), "Inputs and outputs of the model.", (), MODEL_CODES)
    ready = _fixed({"name": product.name, "ready": True}, MODEL_CODES)
    not_ready = {
        "503": {"description": "No model is in service yet, or too many requests wait.", "content": {JSON: {}}}
    }
    model, one_version = "/v2/models/{name}", "/v2/models/{name}/versions/{version}"
    return {
        "/v2": _get(
            tag, "The server", _fixed({"name": "beacon", "version": build, "extensions": ["binary_tensor_data"]})
        ),
        "/v2/health/live": _get(tag, "Is the server alive?", _fixed({"live": True})),
        "/v2/health/ready": _get(tag, "Is a model in service?", _fixed({"ready": True}) | not_ready),
        "/v2/models": _get(tag, "The models", _fixed({"models": [product.name]})),
        model: _get(tag, "The model", metadata, name),
        one_version: _get(tag, "One version of the model", metadata, name, version),
        f"{model}/ready": _get(tag, "Is the model ready?", ready, name),
        f"{one_version}/ready": _get(tag, "Is this version ready?", ready, name, version),
        f"{model}/infer": {"post": infer | {"operationId": "infer", "parameters": [name, *infer["parameters"]]}},
        f"{one_version}/infer": {
            "post": infer | {"operationId": "infer_version", "parameters": [name, version, *infer["parameters"]]}
        },
    }


def _infer(product: Product, examples: Examples) -> Json:
    count = len(examples.values)
    tensor = {"name": "input-0", "shape": [1, count], "datatype": "FP64", "data": [examples.values]}
    columns = [
        {"name": name, "shape": [1], "datatype": "FP64", "data": [value]} for name, value in examples.features.items()
    ]
    entity = {"name": product.entity.key, "shape": [1], "datatype": "INT64", "data": [ENTITY]}
    prediction = {"name": "prediction", "datatype": "FP64", "shape": [1], "data": [examples.prediction]}
    low = prediction | {"name": "low", "data": [examples.prediction - 3]}
    high = prediction | {"name": "high", "data": [examples.prediction + 4]}
    prediction_id = {"name": "prediction_id", "datatype": "BYTES", "shape": [1], "data": [REQUEST_ID]}
    head = {"model_name": product.name, "model_version": VERSION}
    all_outputs = head | {"outputs": [prediction, low, high, prediction_id]}
    outputs = [{"name": "prediction"}]
    shown = [
        Example("tensor", "one tensor, values in feature order", {"inputs": [tensor]}, all_outputs),
        Example(
            "columns",
            "one named tensor a feature, and only the output that is wanted",
            {"id": "a-1", "inputs": columns, "outputs": outputs},
            head | {"id": "a-1", "outputs": [prediction]},
        ),
        Example("entity", "features looked up", {"inputs": [entity]}, all_outputs),
        Example(
            "no_inputs",
            "nothing to predict",
            {"inputs": []},
            BeaconError("invalid_body", "send at least one input", "inputs").body(REQUEST_ID),
            400,
        ),
    ]
    length = {
        "name": "Inference-Header-Content-Length",
        "in": "header",
        "description": "Bytes of the JSON part, when tensors follow it in binary.",
        "schema": {"type": "string"},
    }
    return {
        "tags": ["open inference v2"],
        "summary": "Predict",
        "description": "Tensors may come and go in binary, behind the JSON (the binary tensor extension).",
        "parameters": [length, IDEMPOTENCY_KEY, SYNTHETIC, *TRACE_HEADERS],
        "requestBody": request_body({JSON: ref("InferRequest"), BINARY: BYTES}, shown),
        "responses": answers(
            ref("InferResponse"),
            "The outputs that were asked for, all by default.",
            shown,
            (*BODY, *ROWS, *TABLE, "unknown_model"),
            headers=PREDICTED_HEADERS,
            more={BINARY: {"schema": BYTES}},
        ),
    }


def _v1(product: Product, examples: Examples, name: Json) -> Json:
    tag = "v1"
    predicted = {"predictions": [examples.prediction]}
    shown = [
        Example("instances", "rows in feature order", {"instances": [examples.values]}, predicted),
        Example("objects", "rows of named features", {"instances": [examples.features]}, predicted),
        Example(
            "columns",
            "named columns",
            {"inputs": {key: [value] for key, value in examples.features.items()}},
            predicted,
        ),
        Example(
            "nothing",
            "neither instances nor inputs",
            {},
            BeaconError("invalid_body", "send either instances or inputs", "instances").body(REQUEST_ID),
            400,
        ),
    ]
    predict = {
        "operationId": "v1_predict",
        "tags": [tag],
        "summary": "Predict",
        "parameters": [name, IDEMPOTENCY_KEY, SYNTHETIC, *TRACE_HEADERS],
        "requestBody": request_body({JSON: ref("V1Request")}, shown),
        "responses": answers(
            ref("Predictions"),
            "One number a row.",
            shown,
            (*BODY, *ROWS, *TABLE, "unknown_model"),
            headers=PREDICTED_HEADERS,
        ),
    }
    status = {"version": VERSION, "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    model = {"name": product.name, "ready": True, "model_version_status": [status]}
    return {
        "/v1/models": _get(tag, "The models", _fixed({"models": [product.name]})),
        "/v1/models/{name}": _get(tag, "State of the model", _fixed(model, MODEL_CODES), name),
        "/v1/models/{name}:predict": {"post": predict},
    }


def _mlflow(examples: Examples) -> Json:
    tag = "mlflow"
    names, values = list(examples.features), examples.values
    predicted = {"predictions": [examples.prediction]}
    header, line = ",".join(names), ",".join(map(str, values))
    two = {"instances": [values], "inputs": [values]}
    words = "send exactly one of dataframe_split, dataframe_records, instances, inputs"
    refusal = BeaconError("invalid_body", words).body(REQUEST_ID) | {"error_code": "BAD_REQUEST", "message": words}
    shown = [
        Example(
            "dataframe_split", "columns and rows", {"dataframe_split": {"columns": names, "data": [values]}}, predicted
        ),
        Example("dataframe_records", "rows of named values", {"dataframe_records": [examples.features]}, predicted),
        Example("instances", "rows in feature order", {"instances": [values]}, predicted),
        Example(
            "inputs", "named columns", {"inputs": {key: [value] for key, value in examples.features.items()}}, predicted
        ),
        Example("csv", "CSV with a header line", f"{header}\n{line}\n", predicted, content_type=CSV),
        Example("two_forms", "two forms at once", two, refusal, 400),
    ]
    invocations = {
        "operationId": "invocations",
        "tags": [tag],
        "summary": "Predict",
        "parameters": [IDEMPOTENCY_KEY, SYNTHETIC, *TRACE_HEADERS],
        "requestBody": request_body({JSON: ref("Invocation"), CSV: CSV_TABLE}, shown),
        "responses": answers(
            ref("Predictions"),
            "One number a row.",
            shown,
            (*BODY, *ROWS, *TABLE),
            error="MlflowError",
            headers=PREDICTED_HEADERS,
        ),
    }
    text = answers({"type": "string"}, "The build's version.", (), ("overloaded",), content_type="text/plain")
    ready = answers({"const": "\n"}, "A model is in service.", (), ("overloaded",), content_type="text/plain")
    ready["404"] = {
        "description": "No model is in service yet.",
        "content": {"text/plain": {"schema": {"const": "\n"}}},
    }
    return {
        "/invocations": {"post": invocations},
        "/ping": _get(tag, "Is a model in service?", ready),
        "/health": _get(tag, "The same as /ping", ready),
        "/version": _get(tag, "Version of this build", text),
    }
