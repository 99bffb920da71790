"""Why a prediction is what it is, asked of inference's API: it knows the models, and has the process that explains."""

import http.client
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from beacon_core.domain.masking import mask, message_of
from beacon_core.domain.value_rules import Value

ROUTE = "/v1/explain"
TIMEOUT_SECONDS = 15.0
"""Longer than inference gives the process that explains, so that it can say itself what went wrong."""
SENTENCES = {
    "model_gone": "The model that made this prediction, or what explains it, is not kept any more",
    "registry_unavailable": "The model that made this prediction is not at hand, and MLflow does not answer",
    "unknown_prediction": "Inference does not find this prediction in its log",
    "unauthorized": "Inference refuses the console's API key: BEACON_API_KEY must be the same for both",
}
"""Why there is no explanation, by inference's code; any other is told with inference's own words."""


class ShownContribution(msgspec.Struct, frozen=True):
    """What one feature adds to the prediction, and the value that it had."""

    feature: str
    contribution: float
    standard_error: float | None
    value: Value | None
    source: str


class ShownExplanation(msgspec.Struct, frozen=True):
    """An explanation as inference gives it: base and contributions add up to the prediction."""

    prediction: float
    base: float
    unit: str
    contributions: list[ShownContribution]
    method: str
    samples: int | None
    scale: str

    @property
    def by_size(self) -> list[ShownContribution]:
        """The contributions, the largest first."""
        return sorted(self.contributions, key=lambda each: -abs(each.contribution))


class Failure(NamedTuple):
    """Why there is no explanation: a sentence, and inference's own words; and whether a later try may help."""

    sentence: str
    reason: str
    is_passing: bool


class _Answer(msgspec.Struct, frozen=True):
    explanations: list[ShownExplanation]


class _Error(msgspec.Struct, frozen=True):
    error: str
    code: str


def fetch_explanation(
    address: str, api_key: str, prediction_id: str, timeout_seconds: float = TIMEOUT_SECONDS
) -> ShownExplanation | Failure:
    """POST a prediction's id to the inference at `address`."""
    headers = {"Content-Type": "application/json"} | ({"X-API-Key": api_key} if api_key else {})
    body = msgspec.json.encode({"prediction_id": prediction_id})
    parts = urlsplit(address)
    connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = connect(parts.hostname or "", parts.port, timeout=timeout_seconds)
    try:
        connection.request("POST", parts.path + ROUTE, body, headers)
        response = connection.getresponse()
        status, content = response.status, response.read()
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Failure("Inference does not answer", mask(f"{address}: {message_of(error)}"), is_passing=True)
    finally:
        connection.close()
    try:
        return _read(status, content)
    except ValueError:
        reason = mask(f"{address} answers with status {status}, and not as inference does")
        return Failure("What answers is not inference", reason, is_passing=False)


def _read(status: int, content: bytes) -> ShownExplanation | Failure:
    """Raises `ValueError`, of which msgspec's errors are, for an answer of something else."""
    if status == http.client.OK:
        (explanation,) = msgspec.json.decode(content, type=_Answer).explanations
        return explanation
    failed = msgspec.json.decode(content, type=_Error)
    sentence = SENTENCES.get(failed.code, "Inference could not explain the prediction")
    return Failure(sentence, failed.error, is_passing=status == http.client.SERVICE_UNAVAILABLE)
