"""Inference's API, as the console asks it: it knows the models, and has the process that explains.

What the console asks for is nobody's prediction: it is neither logged nor counted.
"""

import http.client
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import msgspec

from beacon_core.domain.masking import mask, message_of
from beacon_core.domain.value_rules import Value

EXPLAIN, PREDICT = "/v1/explain", "/v1/predict"
EXPLAIN_SECONDS = 15.0
"""Longer than inference gives the process that explains, so that it can say itself what went wrong."""
PREDICT_SECONDS = 5.0
SYNTHETIC = {"Beacon-Synthetic": "true"}
SENTENCES = {
    "model_gone": "The model that made this prediction, or what explains it, is not kept any more",
    "registry_unavailable": "The model that made this prediction is not at hand, and MLflow does not answer",
    "unknown_prediction": "Inference does not find this prediction in its log",
    "unauthorized": "Inference refuses the console's API key: BEACON_API_KEY must be the same for both",
    "forbidden": "BEACON_API_KEY, the console's API key, needs the scopes explain, read_log and synthetic",
    "quota_exceeded": "The console's API key has used up its quota",
    "model_not_ready": "Inference has no model in service",
}
"""What inference's codes mean here; any other is told with inference's own words."""


class ShownContribution(msgspec.Struct, frozen=True):
    """What one feature adds to the prediction, and the value that it had."""

    feature: str
    contribution: float
    standard_error: float | None
    value: Value | None
    source: str


class AnsweringModel(msgspec.Struct, frozen=True):
    """The model that answered."""

    version: str


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


class ShownInterval(msgspec.Struct, frozen=True):
    """The interval of an answer."""

    low: float
    high: float
    coverage: float


class ShownAnswer(msgspec.Struct, frozen=True):
    """A prediction as inference gives it."""

    prediction: float
    interval: ShownInterval
    model: AnsweringModel
    imputed: list[str]
    out_of_range: list[str]


class Failure(NamedTuple):
    """Why there is no answer: a sentence, and inference's own words; and whether a later try may help.

    `field` is the feature that breaks a rule, where it is one.
    """

    sentence: str
    reason: str
    is_passing: bool
    field: str | None = None


class _Explanations(msgspec.Struct, frozen=True):
    explanations: list[ShownExplanation]


class _Error(msgspec.Struct, frozen=True):
    error: str
    code: str
    field: str | None = None


AnswerT = TypeVar("AnswerT", _Explanations, ShownAnswer)
OF_FEATURES = "features."


class InferenceApi(NamedTuple):
    """Inference at an address, and the console's key of it."""

    address: str
    api_key: str

    def explain_logged(
        self, prediction_id: str, timeout_seconds: float = EXPLAIN_SECONDS
    ) -> ShownExplanation | Failure:
        """Why a logged prediction is what it is, by the model that made it."""
        return self._explain({"prediction_id": prediction_id}, timeout_seconds)

    def explain(self, features: dict[str, Value | None]) -> ShownExplanation | Failure:
        """Why the model in service answers a row as it does."""
        return self._explain({"features": features}, EXPLAIN_SECONDS)

    def predict(self, features: dict[str, Value | None]) -> ShownAnswer | Failure:
        """What the model in service answers to a row."""
        return self._ask(PREDICT, {"features": features}, ShownAnswer, PREDICT_SECONDS, SYNTHETIC)

    def _explain(self, body: dict[str, Any], timeout_seconds: float) -> ShownExplanation | Failure:
        answer = self._ask(EXPLAIN, body, _Explanations, timeout_seconds, {})
        if isinstance(answer, Failure):
            return answer
        if not answer.explanations:
            return Failure("What answers is not inference", "no explanation came back", is_passing=False)
        return answer.explanations[0]

    def _ask(
        self, route: str, body: dict[str, Any], form: type[AnswerT], timeout_seconds: float, headers: dict[str, str]
    ) -> AnswerT | Failure:
        sent = {"Content-Type": "application/json"} | headers
        if self.api_key:
            sent["X-API-Key"] = self.api_key
        parts = urlsplit(self.address)
        connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = connect(parts.hostname or "", parts.port, timeout=timeout_seconds)
        try:
            connection.request("POST", parts.path + route, msgspec.json.encode(body), sent)
            response = connection.getresponse()
            status, content = response.status, response.read()
        except (OSError, http.client.HTTPException, ValueError) as error:
            return Failure("Inference does not answer", mask(f"{self.address}: {message_of(error)}"), is_passing=True)
        finally:
            connection.close()
        try:
            return msgspec.json.decode(content, type=form) if status == http.client.OK else _failure(status, content)
        except ValueError:  # of which msgspec's errors are
            reason = mask(f"{self.address} answers with status {status}, and not as inference does")
            return Failure("What answers is not inference", reason, is_passing=False)


def _failure(status: int, content: bytes) -> Failure:
    """Raises `ValueError` for an answer of something else."""
    failed = msgspec.json.decode(content, type=_Error)
    sentence = SENTENCES.get(failed.code, "Inference could not do it")
    field = failed.field or ""
    of_feature = field.removeprefix(OF_FEATURES) if field.startswith(OF_FEATURES) else None
    may_pass = status in {http.client.SERVICE_UNAVAILABLE, http.client.TOO_MANY_REQUESTS}
    return Failure(sentence, failed.error, may_pass, of_feature)
