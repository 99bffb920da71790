"""Access, before the body: a client without a good key, or over its quota, makes the service read no large body."""

from collections.abc import Awaitable

from beacon_core.domain.errors import BeaconError
from beacon_core.web.access import AccessControl
from beacon_core.web.http import Handler, Request, Response
from beacon_core.web.middlewares.body import leave_body
from beacon_core.web.middlewares.chain import Middleware, not_needed


def check_access(access: AccessControl | None, body_seconds: float) -> Middleware:
    """Let a request pass whose key has the scope of its route, and whose client has not used up its quota."""
    if access is None:
        return not_needed

    def middleware(handler: Handler) -> Handler:
        def handle(request: Request) -> Awaitable[Response]:
            if request.route.scope is not None:
                try:
                    access.admit(request, request.route.scope)
                except BeaconError as error:
                    return leave_body(request, error, body_seconds)
            return handler(request)

        return handle

    return middleware
