"""The errors Beacon answers with, and the shape of their body; `error_codes` has the codes."""

from typing import Any

from beacon_core.domain.error_codes import STATUS_OF
from beacon_core.domain.exit_statuses import REFUSED

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
