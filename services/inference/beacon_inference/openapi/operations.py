"""The routes as data: what each takes, answers, refuses and shows."""

from functools import partial
from typing import Annotated, Any

from msgspec import Meta

from beacon_core.domain.product import Product
from beacon_core.platform.settings import Settings
from beacon_inference.openapi.document import JSON, Example, Json, OneOf, Operation, constant, parameter
from beacon_inference.openapi.error_codes import BODY, LOG, MODEL, ROWS, TABLE
from beacon_inference.openapi.examples import PREDICTION_ID, VERSION, Examples
from beacon_inference.openapi.shapes import Shapes
from beacon_inference.protocols import messages
from beacon_inference.protocols.native_types import CLIENT_ID

TAGS = {
    "predict": "Beacon's own protocol: named features, intervals, and which values were imputed.",
    "prediction log": "Logged predictions, and the true values that belong to them.",
    "open inference v2": "The Open Inference Protocol, as KServe, Triton, Seldon and MLServer speak it.",
    "v1": "TensorFlow Serving's and KServe's V1 protocol.",
    "mlflow": "MLflow's scoring protocol.",
    "service": "Health and this documentation.",
}

BINARY, CSV, TEXT, HTML = "application/octet-stream", "text/csv", "text/plain", "text/html"
Binary = Annotated[str, Meta(extra_json_schema={"format": "binary"})]
CsvTable = Annotated[
    str,
    Meta(
        description="A header line and rows; blank lines are skipped. A missing value is empty, or a word that pandas "
        "reads so: NA, NaN, null, None, #N/A and the others. An entity's key is a whole number."
    ),
]

REQUEST_ID = parameter("header", "X-Request-Id", "Returned in the answer; the trace's id where there is none.")
TRACE_HEADERS = [REQUEST_ID, parameter("header", "traceparent", "W3C trace context.")]
IDEMPOTENCY_KEY = parameter(
    "header",
    "Idempotency-Key",
    "Makes a retry safe: the same answer, one record. It becomes the prediction's id.",
    Annotated[str, CLIENT_ID],
)
SYNTHETIC = parameter(
    "header",
    "Beacon-Synthetic",
    "A prober's request: answered, and neither logged nor counted as traffic. Needs the API key.",
    Annotated[str, Meta(extra_json_schema={"enum": ["true"]})],
)
HEADER_LENGTH = parameter(
    "header", "Inference-Header-Content-Length", "Bytes of the JSON part, when tensors follow it in binary."
)
PREDICTED = [IDEMPOTENCY_KEY, SYNTHETIC, *TRACE_HEADERS]
PREDICTED_HEADERS: Json = {
    "Beacon-Model-Version": {"description": "The version that answered.", "schema": {"type": "string"}},
    "Beacon-Logged": {"description": "Whether the prediction is in the log.", "schema": {"enum": ["true", "false"]}},
    "Beacon-Imputed": {
        "description": "Features that were filled in for some row; absent when none was.",
        "schema": {"type": "string"},
    },
    "Server-Timing": {"description": "Milliseconds of each stage.", "schema": {"type": "string"}},
}


def operations(product: Product, settings: Settings, shapes: Shapes, examples: Examples) -> list[Operation]:
    """Describe the routes."""
    return [
        *_native(product, settings, shapes, examples),
        *_open_inference(product, settings.build_version, shapes, examples),
        *_v1(product, shapes, examples),
        *_mlflow(shapes, examples),
        *_service(shapes),
    ]


def _fixed(tag: str, error: Any, path: str, summary: str, answer: Any, *parameters: Json, **more: Any) -> Operation:
    """A route that gives one body."""
    shown = [Example("answer", "", None, answer)]
    answers = {JSON: type(answer)}
    return Operation(
        "get", path, tag, summary, answers, "As the example.", error, examples=shown, parameters=parameters, **more
    )


def _native(product: Product, settings: Settings, shapes: Shapes, examples: Examples) -> list[Operation]:
    name = product.entity.name
    prediction_id = parameter(
        "path",
        "prediction_id",
        "Id of the prediction, as its answer says.",
        Annotated[str, Meta(min_length=1)],
        examples={"known": {"value": PREDICTION_ID}, "unknown": {"value": "nobody"}},
    )
    predict = partial(Operation, error=shapes.error, parameters=PREDICTED, headers=PREDICTED_HEADERS)
    log = partial(Operation, error=shapes.error, needs_key=True)
    value_codes = ("invalid_type", "not_finite", "out_of_valid_range", "invalid_entity", "invalid_id")
    return [
        predict(
            "post",
            "/v1/predict",
            "predict",
            f"Predict {product.target.name} for one {name}",
            {JSON: shapes.prediction},
            "The prediction.",
            takes={JSON: shapes.row},
            examples=examples.one(),
            codes=BODY + ROWS,
            id="predict",
        ),
        predict(
            "post",
            "/v1/predict/batch",
            "predict",
            f"Predict up to {settings.max_batch_rows} rows",
            {JSON: shapes.predictions},
            "The predictions.",
            takes={JSON: shapes.batch},
            examples=examples.batch(),
            codes=(*BODY, *ROWS, "batch_too_large"),
            id="predict_batch",
            description="Answers have the order of the rows. One bad row refuses the whole batch.",
        ),
        log(
            "post",
            "/v1/actuals",
            "prediction log",
            f"Send true values, one or up to {settings.max_batch_rows}",
            {JSON: messages.ActualsResponse},
            "What became of each.",
            takes={JSON: OneOf((shapes.actual, shapes.actuals))},
            examples=examples.actuals(),
            codes=(*BODY, *value_codes, "batch_too_large", "unknown_prediction", *LOG),
            parameters=TRACE_HEADERS,
            id="actuals",
            description="A later value for the same prediction corrects the earlier one.",
        ),
        log(
            "get",
            "/v1/predictions/{prediction_id}",
            "prediction log",
            "One prediction, as it was answered, with its true value once there is one",
            {JSON: shapes.logged},
            "The record.",
            examples=examples.prediction_log(),
            codes=("unknown_prediction", *LOG),
            parameters=[prediction_id, *TRACE_HEADERS],
            id="prediction",
        ),
    ]


def _model_name(product: Product) -> Json:
    kind = Annotated[str, Meta(min_length=1)]
    return parameter("path", "name", "Name of the model.", kind, example=product.name)


def _open_inference(product: Product, build: str, shapes: Shapes, examples: Examples) -> list[Operation]:
    tag = "open inference v2"
    fixed = partial(_fixed, tag, shapes.error)
    name, kind = _model_name(product), Annotated[str, Meta(min_length=1)]
    version = parameter("path", "version", "Version of the model: the one in service.", kind, example=VERSION)
    not_ready = "No model is in service yet, or too many requests wait."
    found = [
        fixed("/v2", "The server", messages.ServerMetadata("beacon", build, ["binary_tensor_data"])),
        fixed("/v2/health/live", "Is the server alive?", messages.LiveResponse()),
        fixed(
            "/v2/health/ready",
            "Is a model in service?",
            messages.ReadyResponse(ready=True),
            other={503: (not_ready, JSON, OneOf((messages.ReadyResponse, shapes.error)))},
        ),
        fixed("/v2/models", "The models", messages.ModelList([product.name])),
    ]
    for path, model, operation_id, parameters in (
        ("/v2/models/{name}", "The model", "infer", [name]),
        ("/v2/models/{name}/versions/{version}", "One version of the model", "infer_version", [name, version]),
    ):
        ready = messages.ModelReady(product.name, ready=True)
        found += [
            Operation(
                "get",
                path,
                tag,
                model,
                {JSON: messages.ModelMetadata},
                "Inputs and outputs of the model.",
                shapes.error,
                MODEL,
                parameters=parameters,
            ),
            fixed(f"{path}/ready", f"{model}: is it ready?", ready, *parameters, codes=MODEL),
            Operation(
                "post",
                f"{path}/infer",
                tag,
                "Predict",
                {JSON: messages.InferResponse, BINARY: Binary},
                "The outputs that were asked for, all by default.",
                shapes.error,
                (*BODY, *ROWS, *TABLE, "unknown_model"),
                {JSON: shapes.infer, BINARY: Binary},
                examples.infer(),
                [*parameters, HEADER_LENGTH, *PREDICTED],
                PREDICTED_HEADERS,
                operation_id,
                "Tensors may be sent and returned in binary, behind the JSON (the binary tensor extension).",
            ),
        ]
    return found


def _v1(product: Product, shapes: Shapes, examples: Examples) -> list[Operation]:
    fixed, name = partial(_fixed, "v1", shapes.error), _model_name(product)
    version = messages.V1Version(VERSION, "AVAILABLE", messages.V1Status("OK", ""))
    model = messages.V1Model(product.name, ready=True, model_version_status=[version])
    return [
        fixed("/v1/models", "The models", messages.ModelList([product.name])),
        fixed("/v1/models/{name}", "State of the model", model, name, codes=MODEL),
        Operation(
            "post",
            "/v1/models/{name}:predict",
            "v1",
            "Predict",
            {JSON: messages.PredictionsResponse},
            "One number per row.",
            shapes.error,
            (*BODY, *ROWS, *TABLE, "unknown_model"),
            {JSON: shapes.v1},
            examples.v1(),
            [name, *PREDICTED],
            PREDICTED_HEADERS,
            "v1_predict",
        ),
    ]


def _mlflow(shapes: Shapes, examples: Examples) -> list[Operation]:
    get = partial(Operation, "get", tag="mlflow", error=shapes.error)
    ping = partial(
        get,
        answers={TEXT: constant("\n")},
        meaning="A model is in service.",
        other={404: ("No model is in service yet.", TEXT, constant("\n"))},
    )
    return [
        Operation(
            "post",
            "/invocations",
            "mlflow",
            "Predict",
            {JSON: messages.PredictionsResponse},
            "One number per row.",
            shapes.mlflow_error,
            (*BODY, *ROWS, *TABLE),
            {JSON: shapes.invocation, CSV: CsvTable},
            examples.mlflow(),
            PREDICTED,
            PREDICTED_HEADERS,
            "invocations",
        ),
        ping("/ping", summary="Is a model in service?"),
        ping("/health", summary="The same as /ping"),
        get("/version", summary="Version of this build", answers={TEXT: str}, meaning="The build's version."),
    ]


def _service(shapes: Shapes) -> list[Operation]:
    get = partial(Operation, "get", tag="service", error=shapes.error)
    ready = ("overloaded", "model_not_ready")
    return [
        get(
            "/livez",
            summary="Is the process alive?",
            answers={JSON: messages.LiveResponse},
            meaning="The process answers.",
        ),
        get(
            "/readyz",
            summary="Is a model in service, and which?",
            answers={JSON: messages.ReadyModel},
            meaning="A model is in service.",
            codes=ready,
        ),
        get("/docs", summary="A page to try all this on", answers={HTML: str}, meaning="HTML."),
        get("/openapi.json", summary="This document", answers={JSON: dict[str, Any]}, meaning="OpenAPI 3.1."),
    ]
