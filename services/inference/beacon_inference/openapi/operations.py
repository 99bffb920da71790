"""The routes as data: requests, answers, error codes and examples of each."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

from msgspec import Meta

from beacon_core.domain.product import Product
from beacon_core.platform.settings import Settings
from beacon_inference.openapi.document import JSON, Example, Json, OneOf, Operation, constant, parameter
from beacon_inference.openapi.error_codes import BODY, EXPLAINED, EXPLAINER, LOG, MODEL, ROWS, TABLE
from beacon_inference.openapi.examples import PREDICTION_ID, VERSION, Examples
from beacon_inference.openapi.shapes import Shapes
from beacon_inference.prediction.inputs import MOST_EXPLAINED_ROWS
from beacon_inference.protocols import messages
from beacon_inference.protocols.native_types import CLIENT_ID, Type

TAGS = {
    "predict": "Beacon's own protocol: named features, intervals, and which values were imputed.",
    "prediction log": "Logged predictions, and the true values that belong to them.",
    "open inference v2": "The Open Inference Protocol, as KServe, Triton, Seldon and MLServer speak it.",
    "v1": "TensorFlow Serving's and KServe's V1 protocol.",
    "MLflow": "MLflow's scoring protocol.",
    "service": "Health and this documentation.",
}

NO_RETRY = frozenset({"idempotency_conflict", "request_in_progress"})
"""Codes of retries, which an explanation needs no care for."""
EXPLAINED_ROWS = tuple(code for code in ROWS if code not in NO_RETRY)
BINARY, CSV, TEXT, HTML = "application/octet-stream", "text/csv", "text/plain", "text/html"
Name = Annotated[str, Meta(min_length=1)]
Binary = Annotated[str, Meta(extra_json_schema={"format": "binary"})]
CsvTable = Annotated[
    str,
    Meta(
        description="A header line and rows; blank lines are skipped. A missing value is empty, or a word that pandas "
        "reads so: NA, NaN, null, None, #N/A and the others. True and false are those words, or 1 and 0."
    ),
]

REQUEST_ID = parameter("header", "X-Request-Id", "Returned in the answer; the trace's id where there is none.")
TRACE_HEADERS = [REQUEST_ID, parameter("header", "traceparent", "W3C trace context.")]
IDEMPOTENCY_KEY = parameter(
    "header",
    "Idempotency-Key",
    "Makes a retry safe: the same answer and one record. It becomes the prediction's id.",
    Annotated[str, CLIENT_ID],
)
SYNTHETIC = parameter(
    "header",
    "Beacon-Synthetic",
    "A prober's request: answered, and neither logged nor counted. Needs a key with the scope `synthetic`.",
    Annotated[str, Meta(extra_json_schema={"enum": ["true"]})],
)
HEADER_LENGTH = parameter(
    "header", "Inference-Header-Content-Length", "Bytes of the JSON part, when tensors follow it in binary."
)
PREDICTED_HEADERS: Json = {
    "Beacon-Model-Version": {"description": "The version that answered.", "schema": {"type": "string"}},
    "Beacon-Logged": {
        "description": "Whether the prediction is in the log; sampled: not each row, as a share of them is kept.",
        "schema": {"enum": ["true", "false", "sampled"]},
    },
    "Beacon-Imputed": {
        "description": "Features that were filled in for some row, as far as they fit; absent when none was.",
        "schema": {"type": "string"},
    },
    "Server-Timing": {"description": "Milliseconds of each stage.", "schema": {"type": "string"}},
}
EXPLAINED_HEADERS: Json = {"Beacon-Model-Version": PREDICTED_HEADERS["Beacon-Model-Version"]}


def operations(product: Product, settings: Settings, shapes: Shapes, examples: Examples) -> list[Operation]:
    """Describe the routes."""
    return [
        *_native(product, settings, shapes, examples),
        *_open_inference(product, settings.build_version, shapes, examples),
        *_v1(product, shapes, examples),
        *_mlflow(shapes, examples),
        *_service(shapes),
    ]


def _fixed(tag: str, error: Type, path: str, summary: str, answer: Any, *parameters: Json, **more: Any) -> Operation:
    """A GET route with a constant answer."""
    shown = [Example("answer", "", None, answer)]
    return Operation(
        "get", path, tag, summary, {JSON: type(answer)}, error, examples=shown, parameters=parameters, **more
    )


def _predict(
    error: Type,
    path: str,
    tag: str,
    operation_id: str,
    takes: dict[str, Type],
    answers: dict[str, Type],
    shown: list[Example],
    codes: tuple[str, ...] = (),
    parameters: Sequence[Json] = (),
    summary: str = "Predict",
    description: str | None = None,
) -> Operation:
    """A route that predicts."""
    common = (IDEMPOTENCY_KEY, SYNTHETIC, *TRACE_HEADERS)
    return Operation(
        "post",
        path,
        tag,
        summary,
        answers,
        error,
        codes=(*BODY, *ROWS, *codes),
        takes=takes,
        examples=shown,
        parameters=(*parameters, *common),
        headers=PREDICTED_HEADERS,
        id=operation_id,
        description=description,
        takes_key=True,
    )


def _native(product: Product, settings: Settings, shapes: Shapes, examples: Examples) -> list[Operation]:
    prediction_id = parameter(
        "path",
        "prediction_id",
        "Id of the prediction, as its answer says.",
        Name,
        examples={"known": {"value": PREDICTION_ID}, "unknown": {"value": "nobody"}},
    )
    predict, log = partial(_predict, shapes.error), partial(Operation, tag="prediction log", error=shapes.error)
    what = product.entity.name if product.entity else "row"
    one, most = f"Predict {product.target.name} for one {what}", settings.max_batch_rows
    value_codes = ("invalid_type", "not_finite", "out_of_valid_range", "invalid_entity", "invalid_id")
    return [
        predict(
            "/v1/predict",
            "predict",
            "predict",
            {JSON: shapes.row},
            {JSON: shapes.prediction},
            examples.one(),
            summary=one,
        ),
        predict(
            "/v1/predict/batch",
            "predict",
            "predict_batch",
            {JSON: shapes.batch},
            {JSON: shapes.predictions},
            examples.batch(),
            ("batch_too_large",),
            summary=f"Predict up to {most} rows",
            description="One bad row rejects the whole batch.",
        ),
        Operation(
            "post",
            "/v1/explain",
            "predict",
            "Why a prediction is what it is",
            {JSON: shapes.explanations},
            shapes.error,
            (*BODY, *EXPLAINED_ROWS, *EXPLAINED),
            takes={JSON: OneOf(shapes.explain)},
            examples=examples.explain(),
            parameters=(SYNTHETIC, *TRACE_HEADERS),
            headers=EXPLAINED_HEADERS,
            id="explain",
            takes_key=True,
            description="What each feature adds to a prediction, of features, an entity or up to "
            f"{MOST_EXPLAINED_ROWS} rows as /v1/predict has them, or of a logged prediction by its id alone: the model "
            "that made it explains it, and this needs a key with the scope `read_log`. "
            "The base and all contributions add up to the prediction, but for rounding. "
            "An explanation is not logged as a prediction.",
        ),
        log(
            "post",
            "/v1/actuals",
            summary=f"Send true values, one or up to {most}",
            answers={JSON: messages.ActualsResponse},
            takes={JSON: OneOf((shapes.actual, shapes.actuals))},
            examples=examples.actuals(),
            codes=(*BODY, *value_codes, "batch_too_large", "unknown_prediction", *LOG),
            parameters=TRACE_HEADERS,
            id="actuals",
            description="A later value for the same prediction corrects the earlier one.",
            takes_key=True,
        ),
        log(
            "get",
            "/v1/predictions/{prediction_id}",
            summary="One prediction, as it was answered, with its true value once there is one",
            answers={JSON: shapes.logged},
            examples=examples.prediction_log(),
            codes=("unknown_prediction", *LOG),
            parameters=[prediction_id, *TRACE_HEADERS],
            id="prediction",
            takes_key=True,
        ),
    ]


def _model_name(product: Product) -> Json:
    return parameter("path", "name", "Name of the model.", Name, example=product.name)


def _open_inference(product: Product, build: str, shapes: Shapes, examples: Examples) -> list[Operation]:
    tag, name = "open inference v2", _model_name(product)
    fixed, predict = partial(_fixed, tag, shapes.error), partial(_predict, shapes.error)
    version = parameter("path", "version", "Version of the model: the one in service.", Name, example=VERSION)
    not_ready = "No model is in service yet, or too many requests wait."
    refusal = (not_ready, JSON, OneOf((messages.ReadyResponse, shapes.error)))
    ready, model_ready = messages.ReadyResponse(ready=True), messages.ModelReady(product.name, ready=True)
    about = (
        "Tensors may be sent and returned in binary, behind the JSON (the binary tensor extension). With the parameter "
        f"`explain: true`, for up to {MOST_EXPLAINED_ROWS} rows, three more outputs say why: `base`, FP64 [rows], "
        "is the answer where nothing is known of the row; `contributions`, FP64 [rows, features], is what each feature "
        "adds to it; `contribution_features`, BYTES [features], names the columns of `contributions`. The base and "
        "a row's contributions add up to its prediction, but for rounding."
    )
    found = [
        fixed("/v2", "The server", messages.ServerMetadata("beacon", build, ["binary_tensor_data"])),
        fixed("/v2/health/live", "Is the server alive?", messages.LiveResponse()),
        fixed("/v2/health/ready", "Is a model in service?", ready, other={503: refusal}),
        fixed("/v2/models", "The models", messages.ModelList([product.name])),
    ]
    for path, title, operation_id, parameters in (
        ("/v2/models/{name}", "The model", "infer", [name]),
        ("/v2/models/{name}/versions/{version}", "One version of the model", "infer_version", [name, version]),
    ):
        answers = {JSON: messages.ModelMetadata}
        found += [
            Operation("get", path, tag, title, answers, shapes.error, MODEL, parameters=parameters),
            fixed(f"{path}/ready", f"{title}: is it ready?", model_ready, *parameters, codes=MODEL),
            predict(
                f"{path}/infer",
                tag,
                operation_id,
                {JSON: shapes.infer, BINARY: Binary},
                {JSON: messages.InferResponse, BINARY: Binary},
                examples.infer(),
                (*TABLE, "unknown_model", *EXPLAINER),
                [*parameters, HEADER_LENGTH],
                description=about,
            ),
        ]
    return found


def _v1(product: Product, shapes: Shapes, examples: Examples) -> list[Operation]:
    fixed, name = partial(_fixed, "v1", shapes.error), _model_name(product)
    version = messages.V1Version(VERSION, "AVAILABLE", messages.V1Status("OK", ""))
    model = messages.V1Model(product.name, ready=True, model_version_status=[version])
    answers, codes = {JSON: messages.PredictionsResponse}, (*TABLE, "unknown_model")
    path, takes = "/v1/models/{name}:predict", {JSON: shapes.v1}
    return [
        fixed("/v1/models", "The models", messages.ModelList([product.name])),
        fixed("/v1/models/{name}", "State of the model", model, name, codes=MODEL),
        _predict(shapes.error, path, "v1", "v1_predict", takes, answers, examples.v1(), codes, [name]),
        Operation(
            "post",
            "/v1/models/{name}:explain",
            "v1",
            "Why predictions are what they are",
            {JSON: shapes.v1_explanations},
            shapes.error,
            (*BODY, *EXPLAINED_ROWS, *codes, *EXPLAINER),
            takes=takes,
            examples=examples.v1_explain(),
            parameters=[name, SYNTHETIC, *TRACE_HEADERS],
            headers=EXPLAINED_HEADERS,
            id="v1_explain",
            description=f"As /v1/explain, for up to {MOST_EXPLAINED_ROWS} rows as :predict has them.",
        ),
    ]


def _mlflow(shapes: Shapes, examples: Examples) -> list[Operation]:
    tag, error, line = "MLflow", shapes.error, constant("\n", "A model is in service.")
    takes, answers = {JSON: shapes.invocation, CSV: CsvTable}, {JSON: messages.PredictionsResponse}
    none = {404: ("No model is in service yet.", TEXT, line)}
    predict = partial(_predict, shapes.mlflow_error, "/invocations", tag, "invocations")
    return [
        predict(takes, answers, examples.mlflow(), TABLE),
        Operation("get", "/ping", tag, "Is a model in service?", {TEXT: line}, error, other=none),
        Operation("get", "/health", tag, "The same as /ping", {TEXT: line}, error, other=none),
        Operation("get", "/version", tag, "Version of this build", {TEXT: str}, error),
    ]


def _service(shapes: Shapes) -> list[Operation]:
    tag, error, ready = "service", shapes.error, ("overloaded", "model_not_ready")
    return [
        Operation("get", "/livez", tag, "Is the process alive?", {JSON: messages.LiveResponse}, error),
        Operation(
            "get", "/readyz", tag, "Is a model in service, and which?", {JSON: messages.ReadyModel}, error, ready
        ),
        Operation("get", "/docs", tag, "A page to try all this on", {HTML: str}, error),
        Operation("get", "/openapi.json", tag, "This document", {JSON: dict[str, Any]}, error),
    ]
