"""A logged prediction as a message of Kafka: one JSON object, whose form docs/reference/kafka-messages.md states.

Programs of others read it, so a field never changes its meaning or its type. What is added is optional; whatever else
changes has another `format`.
"""

import msgspec

FORMAT = 1


class LogMessage(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """One prediction. A field without a value is left out."""

    format: int
    """1. A reader that knows no such number leaves the message where it is, and says so."""
    product: str
    """Name of the product."""
    id: str
    """The prediction's id; a message that comes again has the same."""
    time: int
    """When it was made, in microseconds since 1970, UTC."""
    prediction: float
    """The answer, in the target's unit."""
    low: float
    """Lower end of its interval."""
    high: float
    """Upper end of its interval."""
    model_version: str
    """Version of the model that answered."""
    model_sha256: str
    """Digest of that model's package."""
    latency_seconds: float
    """How long the answer took."""
    request_id: str
    """Id of the request; the predictions of a batch share it."""
    trace_id: str | None = None
    """Id of the trace."""
    entity: str | None = None
    """Key of the entity, as text."""
    client: str | None = None
    """Name of the client's API key."""
    input_digest: str | None = None
    """Digest of what was asked, where the client chose the id."""
    shadow_version: str | None = None
    """Version of a model in shadow."""
    shadow_prediction: float | None = None
    """What that model answered."""
    numbers: dict[str, float] = {}
    """Features that are numbers, by name, as the model got them, before imputation."""
    texts: dict[str, str] = {}
    """Features that are text."""
    flags: dict[str, bool] = {}
    """Features that are true or false."""
    from_store: list[str] | None = None
    """Features that came from the feature store; left out where it was not asked."""
    imputed: list[str] = []
    """Features that had no value, and were imputed."""
    out_of_range: list[str] = []
    """Features outside their training range."""


encode_message = msgspec.json.Encoder().encode
decode_message = msgspec.json.Decoder(LogMessage).decode
