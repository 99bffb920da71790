"""The body of each answer as a Struct, and that of an actual's request.

The OpenAPI document is made from them, and a test decodes real answers.

`msgspec.Raw` is JSON that is encoded once and reused in further answers; `openapi/shapes.py` has its types.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from beacon_core.domain.actuals import Outcome

Value = float | bool | str
Time = Annotated[datetime, Meta(tz=True)]


class Message(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """Base of all messages: unknown fields are refused."""


class ModelPin(Message, frozen=True):
    """The model that answered: name, version and the digest of its package."""

    name: str
    version: str
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class PredictionInterval(Message, frozen=True):
    """The conformal interval, in the target's unit."""

    low: float
    high: float
    coverage: float


class PredictionResponse(Message, frozen=True):
    """One prediction."""

    prediction: float
    unit: str
    interval: PredictionInterval
    prediction_id: str
    model: msgspec.Raw
    imputed: msgspec.Raw
    out_of_range: list[str]
    sources: msgspec.Raw


class BatchResponse(Message, frozen=True):
    """Predictions, in the order of the request's rows."""

    predictions: list[PredictionResponse]


class Contribution(Message, frozen=True):
    """What one feature adds to the prediction, in the target's unit, and the value that it had."""

    feature: Annotated[str, Meta(description="a feature, or a column that is computed from several features")]
    contribution: float
    standard_error: Annotated[float | None, Meta(description="of a sampled contribution; null where it is exact")]
    value: Annotated[Value | None, Meta(description="the value that the model had")]
    source: Annotated[Literal["request", "store", "imputed", "computed"], Meta(description="where the value came from")]


class ExplanationResponse(Message, frozen=True):
    """Why a prediction is what it is: `base` and all contributions add up to it, but for rounding."""

    prediction: float
    base: Annotated[float, Meta(description="the answer where nothing is known of the row")]
    unit: str
    contributions: Annotated[list[Contribution], Meta(description="in the order of product.yaml")]
    method: Literal["exact", "sampled"]
    samples: Annotated[int | None, Meta(description="pairs of walks behind sampled contributions; null where exact")]
    scale: Annotated[
        Literal["linear", "logarithmic"],
        Meta(description="logarithmic: the model predicts the logarithm, whose contributions were converted"),
    ]
    prediction_id: Annotated[str | None, Meta(description="the logged prediction that is explained")]
    model: ModelPin


class ExplanationsResponse(Message, frozen=True):
    """Explanations, in the order of the request's rows."""

    explanations: list[ExplanationResponse]


class V1ExplanationsResponse(Message, frozen=True):
    """Predictions and why they are what they are, in the order of the request's rows."""

    predictions: list[float]
    explanations: list[ExplanationResponse]


class ShadowPrediction(Message, frozen=True):
    """What the shadow model predicted."""

    version: str
    prediction: float


class LoggedActualResponse(Message, frozen=True):
    """The newest true value of a prediction."""

    value: float
    observed_at: Time
    received_at: Time
    source: str


class LoggedPredictionResponse(PredictionResponse, frozen=True):
    """One prediction as the prediction log has it."""

    time: Time
    entity: dict[str, int | str] | None
    features: Annotated[dict[str, Value | None], Meta(description="features of the request")]
    served: Annotated[dict[str, Value | None] | None, Meta(description="features of the feature store")]
    shadow: ShadowPrediction | None
    latency_seconds: float
    request_id: str
    trace_id: str
    client: Annotated[str | None, Meta(description="the name of the API key that was sent; null without one")]
    actual: LoggedActualResponse | None


class ActualRequest(Message, frozen=True):
    """One true value, by prediction id, or by entity and time."""

    value: float
    prediction_id: str | None = None
    entity: Any = None
    observed_at: Annotated[
        Time | None, Meta(description="when the value was observed; the default is now, and only by prediction id")
    ] = None
    source: str | None = None


class ActualsResponse(Message, frozen=True):
    """The outcome of each actual."""

    outcomes: list[Outcome]
    accepted: int


class ErrorResponse(Message, frozen=True):
    """Every error, on every route."""

    error: Annotated[str, Meta(description="for people")]
    code: Annotated[str, Meta(description="for programs; stable")]
    field: Annotated[str | None, Meta(description="path of the offending value")]
    request_id: str


class MlflowErrorResponse(ErrorResponse, frozen=True):
    """An error, with the two keys that MLflow's clients read."""

    error_code: Literal["BAD_REQUEST", "INTERNAL_ERROR"]
    message: str


class PredictionsResponse(Message, frozen=True):
    """Bare predictions, as clients of V1 and MLflow expect them."""

    predictions: list[float]


class OutputTensor(Message, frozen=True):
    """A tensor of an answer; its data is JSON, or `parameters.binary_data_size` bytes behind it."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Any] | UnsetType = UNSET
    data: list[Any] | UnsetType = UNSET


class InferResponse(Message, frozen=True):
    """The requested outputs, all by default."""

    model_name: str
    model_version: str
    outputs: list[OutputTensor]
    id: str | UnsetType = UNSET


class ServerMetadata(Message, frozen=True):
    """The server, as Open Inference describes it."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(Message, frozen=True):
    """An input or output of the model; -1 is any number of rows."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(Message, frozen=True):
    """The model, as Open Inference describes it."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ModelList(Message, frozen=True):
    """The models, of which there is one."""

    models: list[str]


class ModelReady(Message, frozen=True):
    """Whether the model is in service."""

    name: str
    ready: bool


class V1Status(Message, frozen=True):
    """The error of a version in V1; `OK` and empty without one."""

    error_code: str
    error_message: str


class V1Version(Message, frozen=True):
    """One version of the model."""

    version: str
    state: str
    status: V1Status


class V1Model(Message, frozen=True):
    """The model, as V1 describes it."""

    name: str
    ready: bool
    model_version_status: list[V1Version]


class LiveResponse(Message, frozen=True):
    """The process answers."""

    live: Annotated[bool, Meta(extra_json_schema={"const": True})] = True


class ReadyResponse(Message, frozen=True):
    """Whether a model is in service."""

    ready: bool


class ReadyModel(Message, frozen=True):
    """A model is in service, and this one."""

    ready: Annotated[bool, Meta(extra_json_schema={"const": True})]
    model: ModelPin
