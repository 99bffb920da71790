"""Errors in the shape that Feast gives them, so that Feast's clients raise the class they know."""

import json
from typing import Any

from feast.errors import FeastError

from beacon_core.domain.errors import BeaconError
from beacon_core.web.http import Request, encode_json


class FeastResponseError(BeaconError):
    """An error with Feast's own status and body: `detail` is what the client reads out of the JSON."""

    def __init__(self, code: str, message: str, field: str | None, status: int, detail: Any) -> None:
        super().__init__(code, message, field)
        self.status = status
        self.detail = detail


def feast_detail(kind: str, message: str) -> str:
    """Feast's error body, which is JSON within a JSON string; its clients raise `feast.errors.<kind>`."""
    return json.dumps({"module": "feast.errors", "class": kind, "message": message})


def feast_error(
    code: str, message: str, field: str | None = None, *, kind: str = "FeastError", status: int = 422
) -> FeastResponseError:
    """A fault that Feast's server finds once it has read the body."""
    return FeastResponseError(code, message, field, status, feast_detail(kind, message))


def from_feast_error(error: FeastError, field: str | None = None) -> FeastResponseError:
    """Feast's own error, its status kept where it is the client's fault; what Feast answers with 500 becomes 422."""
    status = error.http_status_code()
    code = {404: "not_found", 403: "forbidden"}.get(status, "invalid_body")
    return feast_error(code, str(error), field, kind=type(error).__name__, status=status if status < 500 else 422)


def validation_error(code: str, message: str, path: tuple[str | int, ...]) -> FeastResponseError:
    """A body of the wrong shape, as Feast's server (FastAPI) reports it: status 422, `{"detail": [...]}`."""
    field = ".".join(str(part) for part in path[1:]) or None
    return FeastResponseError(code, message, field, 422, {"detail": [{"type": code, "loc": path, "msg": message}]})


def error_body(error: BeaconError, request: Request) -> bytes:
    """The body of any error on a Feast route."""
    if isinstance(error, FeastResponseError):
        return encode_json(error.detail)
    kind = "FeastPermissionError" if error.code in {"unauthorized", "forbidden"} else "FeastError"
    return encode_json(feast_detail(kind, f"{error.message} (request {request.id})"))
