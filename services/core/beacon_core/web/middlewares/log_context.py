"""The request's id and trace in each line that is logged on its behalf."""

from collections.abc import Awaitable

from beacon_core.observability import logs
from beacon_core.web.http import Handler, Request, Response


def log_context(handler: Handler) -> Handler:
    """Hand the request's id and trace id to the logs."""

    def handle(request: Request) -> Awaitable[Response]:
        logs.request_id.set(request.id)
        logs.trace_id.set(request.trace.trace_id)
        return handler(request)

    return handle
