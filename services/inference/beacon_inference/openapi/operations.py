"""The words that every operation of the document is made of."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from beacon_core.domain.errors import STATUS_OF

Json = dict[str, Any]

TAGS = {
    "predict": "Beacon's own protocol: named features, intervals, imputation told.",
    "prediction log": "Predictions that were given, and the true values that belong to them.",
    "open inference v2": "The Open Inference Protocol, as KServe, Triton, Seldon and MLServer speak it.",
    "v1": "TensorFlow Serving's and KServe's V1 protocol.",
    "mlflow": "MLflow's scoring protocol.",
    "service": "Health and this documentation.",
}

MEANING = {
    "invalid_request": "what came is no HTTP/1.1 request",
    "invalid_json": "the body is not JSON",
    "invalid_body": "the body is JSON of another shape",
    "invalid_type": "a value is of the wrong type",
    "not_finite": "a number is NaN or infinite",
    "out_of_valid_range": "a value lies outside its valid range",
    "unknown_category": "a value is none of the categories",
    "unknown_feature": "the product has no such feature",
    "missing_feature": "a feature that must be known is not",
    "too_few_features": "too few features are known to be worth an answer",
    "invalid_entity": "the entity is not one whole number",
    "invalid_shape": "rows, columns and values do not fit together",
    "invalid_id": "an id is not 1 to 64 letters, digits or ._:-",
    "batch_too_large": "more rows than one request may have",
    "idempotency_conflict": "the id was used before with other values",
    "unauthorized": "the API key is missing or wrong",
    "unknown_entity": "no features are known for the entity",
    "unknown_model": "no such model or version is in service",
    "unknown_prediction": "no prediction has this id",
    "not_found": "there is no such route",
    "method_not_allowed": "the route takes another method",
    "request_timeout": "the body (or the head) did not come in time",
    "request_in_progress": "a request with this id is under way",
    "verdict_not_passed": "the model's verdict is not pass, so it cannot be approved (the console's)",
    "body_too_large": "the body is larger than the limit",
    "uri_too_long": "the request line is too long",
    "unsupported_media_type": "the content type (or encoding) is not taken",
    "headers_too_large": "too many header fields, or one that is too long",
    "overloaded": "too many requests wait",
    "feature_store_unavailable": "feature serving does not answer",
    "model_not_ready": "no model is in service yet",
    "prediction_log_unavailable": "the prediction log's database does not answer",
    "internal": "a bug",
}

# What any body can be refused for, and what any rows can be.
BODY = ("invalid_json", "invalid_body", "request_timeout", "body_too_large", "unsupported_media_type")
ROWS = (
    "invalid_type",
    "not_finite",
    "out_of_valid_range",
    "unknown_category",
    "unknown_feature",
    "missing_feature",
    "too_few_features",
    "invalid_entity",
    "invalid_id",
    "idempotency_conflict",
    "request_in_progress",
    "unknown_entity",
    "feature_store_unavailable",
    "model_not_ready",
    "overloaded",
    "unauthorized",
)
TABLE = ("invalid_shape", "batch_too_large")

TRACE_HEADERS = [
    {
        "name": "X-Request-Id",
        "in": "header",
        "description": "Comes back in the answer; the trace's id where there is none.",
        "schema": {"type": "string"},
    },
    {"name": "traceparent", "in": "header", "description": "W3C trace context.", "schema": {"type": "string"}},
]
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Makes a retry safe: the same answer, one record. It becomes the prediction's id.",
    "schema": {"$ref": "#/components/schemas/ClientId"},
}
SYNTHETIC = {
    "name": "Beacon-Synthetic",
    "in": "header",
    "description": "A prober's question: answered, and neither logged nor counted as traffic. Needs the API key.",
    "schema": {"enum": ["true"]},
}
PREDICTED_HEADERS = {
    "Beacon-Model-Version": {"description": "The version that answered.", "schema": {"type": "string"}},
    "Beacon-Logged": {
        "description": "Whether the prediction is in the log.",
        "schema": {"enum": ["true", "false"]},
    },
    "Beacon-Imputed": {
        "description": "Features that were filled in for some row; absent when none was.",
        "schema": {"type": "string"},
    },
    "Server-Timing": {"description": "Milliseconds of each stage.", "schema": {"type": "string"}},
}


class Example(NamedTuple):
    """A request, what it shows, and the answer to it; `name` joins the two in the document."""

    name: str
    summary: str
    body: Any
    answer: Any
    status: int = 200
    content_type: str = "application/json"


def ref(name: str) -> Json:
    """Point at a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def path_parameter(name: str, description: str, example: str) -> Json:
    """Describe a part of the path."""
    schema = {"type": "string", "minLength": 1}
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": schema,
        "example": example,
    }


def answers(
    kind: Json | None,
    description: str,
    examples: Sequence[Example] = (),
    codes: Iterable[str] = (),
    *,
    error: str = "Error",
    content_type: str = "application/json",
    headers: Json | None = None,
    more: Json | None = None,
) -> Json:
    """Describe every answer of an operation; `codes` are all that it can refuse with, `more` further content of 200."""
    request_id = {"X-Request-Id": {"schema": {"type": "string"}}}
    found: Json = {"200": {"description": description, "headers": request_id | (headers or {}), "content": {}}}
    content = found["200"]["content"]
    if kind is not None:
        content[content_type] = {"schema": kind} | _examples(examples, 200)
    content |= more or {}
    statuses: dict[int, list[str]] = {}
    for code in codes:
        statuses.setdefault(STATUS_OF[code], []).append(code)
    for status, wanted in sorted(statuses.items()):
        schema = {"allOf": [ref(error), {"properties": {"code": {"enum": wanted}}}]}
        retry = (
            {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "string"}}} if status == 503 else {}
        )
        found[str(status)] = {
            "description": "; ".join(f"`{code}`: {MEANING[code]}" for code in wanted),
            "headers": request_id | retry,
            "content": {"application/json": {"schema": schema} | _examples(examples, status)},
        }
    return found


def request_body(kinds: dict[str, Json], examples: Sequence[Example]) -> Json:
    """Describe a body: a schema for each content type, and the examples of each."""
    content: Json = {}
    for content_type, kind in kinds.items():
        shown = {
            example.name: {"summary": example.summary, "value": example.body}
            for example in examples
            if example.content_type == content_type
        }
        content[content_type] = {"schema": kind} | ({"examples": shown} if shown else {})
    return {"required": True, "content": content}


def _examples(examples: Sequence[Example], status: int) -> Json:
    shown = {example.name: {"value": example.answer} for example in examples if example.status == status}
    return {"examples": shown} if shown else {}
