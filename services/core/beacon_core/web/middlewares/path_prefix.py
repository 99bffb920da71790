"""The path below which a proxy shows the service: off the request's path, and before the links of its pages."""

from collections.abc import Awaitable

from beacon_core.platform.http_settings import forwarded_prefix
from beacon_core.web.http import Handler, Request, Response, Scope
from beacon_core.web.middlewares.chain import Middleware

FORWARDED_PREFIX = b"x-forwarded-prefix"


def strip_path_prefix(prefix: str) -> Middleware:
    """Take a proxy's path off: `prefix`, if it left that there, and what its header says it took off itself."""

    def middleware(handler: Handler) -> Handler:
        def handle(request: Request) -> Awaitable[Response]:
            forwarded = request.headers.get(FORWARDED_PREFIX)
            if prefix or forwarded is not None:
                request.scope = _below(prefix, forwarded, request.scope)
            return handler(request)

        return handle

    return middleware


def _below(prefix: str, forwarded: bytes | None, scope: Scope) -> Scope:
    """Return the scope as the service sees it; `root_path` is what pages put before their links."""
    path: str = scope["path"]
    left_there = bool(prefix) and (path + "/").startswith(prefix + "/")
    if left_there:
        path = path[len(prefix) :] or "/"
    root = forwarded_prefix(forwarded) if forwarded else ""
    if not root or (left_there and not root.endswith(prefix)):
        root += prefix  # what one proxy took off lies before what another one left there
    return scope | {"path": path, "root_path": root}
