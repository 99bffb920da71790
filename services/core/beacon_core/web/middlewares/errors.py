"""Errors as responses: the one place that makes an answer of what a handler raises."""

import logging

from beacon_core.domain.errors import BeaconError
from beacon_core.web.http import CHALLENGES, JSON, ErrorBody, Handler, Request, Response
from beacon_core.web.middlewares.body import ClientDisconnectedError

log = logging.getLogger(__name__)


def map_errors(handler: Handler) -> Handler:
    """Answer in the shape of the request's route, whatever is raised behind."""

    async def handle(request: Request) -> Response:
        try:
            return await handler(request)
        except BeaconError as error:
            return failure(error, request, request.route.error_body)
        except ClientDisconnectedError:
            raise
        except Exception:
            # The last line: whatever it was, the client gets a 500 and the log the stack.
            log.exception("unexpected error")
            internal = BeaconError("internal", "unexpected error; the request id finds it in the log")
            return failure(internal, request, request.route.error_body)

    return handle


def failure(error: BeaconError, request: Request, body: ErrorBody) -> Response:
    """The response to an error, whose code the request's telemetry gets."""
    request.error_code = error.code
    headers: list[tuple[bytes, bytes]] = []
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after))
    if error.status in CHALLENGES:
        headers.append((b"www-authenticate", CHALLENGES[error.status]))
    if error.code == "method_not_allowed":
        headers.append((b"allow", ", ".join(request.route.methods).encode()))
    if request.is_unread:
        headers.append((b"connection", b"close"))
    return Response(body(error, request), error.status, JSON, headers, last=not request.is_unread)
