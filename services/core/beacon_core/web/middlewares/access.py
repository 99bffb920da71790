"""Access, before the body: a client without a good key, or over its quota, makes the service read no large body."""

from collections.abc import Awaitable

from beacon_core.domain.errors import BeaconError
from beacon_core.domain.token_clients import UnknownKeyError
from beacon_core.web.access import AccessControl
from beacon_core.web.http import Handler, Request, Response
from beacon_core.web.middlewares.body import leave_body
from beacon_core.web.middlewares.chain import Middleware, not_needed


def check_access(access: AccessControl | None, body_seconds: float) -> Middleware:
    """Let a request pass whose key has the scope of its route, and whose client has not used up its quota."""
    if access is None:
        return not_needed

    def middleware(handler: Handler) -> Handler:
        async def handle_later(request: Request, scope: str) -> Response:
            """Ask the issuer for the key of a token, and look again."""
            await access.ask_issuer()
            try:
                access.admit(request, scope, asked=True)
            except BeaconError as error:
                return await leave_body(request, error, body_seconds)
            return await handler(request)

        def handle(request: Request) -> Awaitable[Response]:
            scope = request.route.scope
            if scope is not None:
                try:
                    access.admit(request, scope)
                except UnknownKeyError:
                    return handle_later(request, scope)
                except BeaconError as error:
                    return leave_body(request, error, body_seconds)
            return handler(request)

        return handle

    return middleware
