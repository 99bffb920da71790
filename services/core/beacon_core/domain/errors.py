"""Every error Beacon answers with: a stable code, its HTTP status and the shape of the body, in one place."""

from typing import Any

from beacon_core.domain.exit_statuses import REFUSED

# The whole set of codes; each is also a value of the metric label `error_type`.
STATUS_OF: dict[str, int] = {
    "invalid_request": 400,
    "invalid_json": 400,
    "invalid_body": 400,
    "invalid_type": 422,
    "not_finite": 422,
    "out_of_valid_range": 422,
    "unknown_category": 422,
    "unknown_feature": 422,
    "missing_feature": 422,
    "too_few_features": 422,
    "invalid_entity": 422,
    "invalid_shape": 422,
    "invalid_id": 422,
    "batch_too_large": 422,
    "idempotency_conflict": 422,
    "unauthorized": 401,
    "forbidden": 403,
    "unknown_entity": 404,
    "unknown_model": 404,
    "unknown_prediction": 404,
    "not_found": 404,
    "method_not_allowed": 405,
    "request_timeout": 408,
    "request_in_progress": 409,
    "model_gone": 409,
    "verdict_not_passed": 409,
    "second_person_needed": 409,
    "body_too_large": 413,
    "uri_too_long": 414,
    "unsupported_media_type": 415,
    "quota_exceeded": 429,
    "too_many_attempts": 429,
    "headers_too_large": 431,
    "overloaded": 503,
    "feature_store_unavailable": 503,
    "model_not_ready": 503,
    "prediction_log_unavailable": 503,
    "registry_unavailable": 503,
    "explainer_unavailable": 503,
    "issuer_unavailable": 503,
    "internal": 500,
}


UNAVAILABLE_SECONDS = 1
"""After which a client may try again what the service could not do."""


class ConfigurationError(ValueError):
    """Configuration breaks a rule; the message names the place and the rule, so no stack trace is needed."""

    exit_status = REFUSED


class BeaconError(Exception):
    """An error with a stable `code`, sent to the client as `{"error", "code", "field", "request_id"}`.

    `field` is the path of the offending value (`features.size`, `rows[3].entity`) or None; `retry_after` the seconds
    after which the same request may pass, None where it will not.
    """

    exit_status = REFUSED

    def __init__(self, code: str, message: str, field: str | None = None, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.status = STATUS_OF[code]
        self.message = message
        self.field = field
        self.retry_after = UNAVAILABLE_SECONDS if retry_after is None and self.status == 503 else retry_after

    def body(self, request_id: str) -> dict[str, Any]:
        """The error's JSON shape, the same on every route of every service."""
        field = None if self.field is None else _encodable(self.field)
        return {"error": _encodable(self.message), "code": self.code, "field": field, "request_id": request_id}


def _encodable(text: str) -> str:
    """Replace lone surrogates: JSON lets a client send them, and no answer or log line can hold them."""
    return text.encode("utf-8", "replace").decode("utf-8")
