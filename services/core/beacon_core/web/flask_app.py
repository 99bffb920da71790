"""The Flask half of a service: the routes where speed does not matter, with the same errors as the hot ones."""

import logging
from typing import Any

import msgspec
from flask import Flask, Response, request
from flask.json.provider import JSONProvider
from werkzeug.exceptions import HTTPException

from beacon_core.domain.errors import BeaconError
from beacon_core.domain.integers import whole_or_float
from beacon_core.web.bounds import check_values
from beacon_core.web.http import CHALLENGES, JSON, Request, require_content_type

log = logging.getLogger(__name__)

CODE_OF_STATUS = {
    400: "invalid_body",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
}


_decode = msgspec.json.Decoder(float_hook=whole_or_float).decode


class StrictJson(JSONProvider):
    """JSON by msgspec: no NaN in or out, and times in ISO 8601."""

    def dumps(self, obj: Any, **_: Any) -> str:
        return msgspec.json.encode(obj).decode()

    def loads(self, s: str | bytes, **_: Any) -> Any:
        return msgspec.json.decode(s)


def current_request() -> Request:
    """The skeleton's view of the request that Flask is answering."""
    beacon_request: Request = request.environ["asgi.scope"]["beacon.request"]
    return beacon_request


def root() -> str:
    """What a link within the service begins with: the path below which a proxy shows it, or nothing."""
    return request.script_root


def create_flask(name: str) -> Flask:
    """Make a Flask app that hands its route to the skeleton, and whose errors have the body of the hot routes'."""
    app = Flask(name, static_folder=None)
    app.json = StrictJson(app)
    app.before_request(_tell_route)
    app.register_error_handler(BeaconError, beacon_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)
    return app


def json_body(rows: int) -> Any:
    """The request's JSON; BeaconError `invalid_json` or `unsupported_media_type` where it is none.

    BeaconError `body_too_large` where it has more values than so many rows.
    """
    if not request.headers.get("Content-Type"):
        # A page of another site can send such a body without asking first.
        raise BeaconError("unsupported_media_type", "send application/json", "Content-Type")
    require_content_type(current_request(), frozenset({JSON}))
    body = request.get_data()
    check_values(body, rows)
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BeaconError("invalid_json", f"the body is not JSON: {error}") from error


def _tell_route() -> None:
    if request.url_rule is not None:
        current_request().endpoint = request.url_rule.rule


def beacon_error(error: BeaconError) -> Response:
    """The error in the body of the hot routes, its code handed to the skeleton."""
    context = current_request()
    context.error_code = error.code
    response = Response(msgspec.json.encode(error.body(context.id)), error.status, content_type="application/json")
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    if error.status in CHALLENGES:
        response.headers["WWW-Authenticate"] = CHALLENGES[error.status].decode()
    return response


def _http_error(error: HTTPException) -> Response:
    if error.code is not None and 300 <= error.code < 400:
        return Response(status=error.code, headers=error.get_headers())
    code = CODE_OF_STATUS.get(error.code or 500, "invalid_body" if (error.code or 500) < 500 else "internal")
    response = beacon_error(BeaconError(code, error.description or error.name))
    for name, value in error.get_headers():
        if name == "Allow":
            response.headers["Allow"] = value
    return response


def _unexpected(error: Exception) -> Response:
    log.error("unexpected error", exc_info=error)
    return beacon_error(BeaconError("internal", "unexpected error; the request id finds it in the log"))
