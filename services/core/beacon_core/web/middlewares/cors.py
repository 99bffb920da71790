"""CORS: which pages of other origins may ask a service, and read its answers; errors are answers, too.

Beacon reads no cookies, and so credentials are never allowed: whoever needs a key sends it in a header. A preflight is
answered by a route of its own, not by a middleware around the application, so that it has an id, a log line and a
count as well.
"""

from collections.abc import Awaitable

from beacon_core.platform.http_settings import ANY
from beacon_core.web.http import Handler, Headers, Request, Response, Route, Send
from beacon_core.web.middlewares.chain import Middleware, not_needed

METHODS = b"GET, HEAD, POST"
# What Beacon's routes read, and what tracing in a browser adds.
REQUEST_HEADERS = (
    b"accept, authorization, baggage, beacon-synthetic, content-type, idempotency-key, "
    b"inference-header-content-length, traceparent, tracestate, x-api-key, x-request-id"
)
EXPOSED_HEADERS = (
    b"allow, beacon-imputed, beacon-logged, beacon-model-version, inference-header-content-length, retry-after, "
    b"server-timing, www-authenticate, x-request-id"
)
# Browsers keep the answer to a preflight for so long at most: a setting that changed is in force soon.
MAX_AGE_SECONDS = b"600"
ENDPOINT = "preflight"
"""The metric label of preflights: they are no requests of the route that they ask about."""


def allow_origins(origins: tuple[str, ...]) -> Middleware:
    """Let pages of `origins` ask: answer preflights, and add to each answer what lets the page read it."""
    return Cors(origins).middleware if origins else not_needed


async def answer_preflight(_: Request) -> Response:
    """Tell a browser what its page may send."""
    return Response(
        b"",
        content_type=b"text/plain",
        headers=(
            (b"access-control-allow-methods", METHODS),
            (b"access-control-allow-headers", REQUEST_HEADERS),
            (b"access-control-max-age", MAX_AGE_SECONDS),
        ),
    )


PREFLIGHT = Route(ENDPOINT, answer_preflight, "OPTIONS")


class Cors:
    """The rules of a service whose setting names `origins`: some, or `*`."""

    def __init__(self, origins: tuple[str, ...]) -> None:
        self._any = origins == (ANY,)
        self._origins = frozenset(origin.encode() for origin in origins)

    def middleware(self, handler: Handler) -> Handler:
        """Mark what is sent, errors too; a preflight leaves the route that it asks about for one of its own."""

        def handle(request: Request) -> Awaitable[Response]:
            request.send = self._mark(request, request.send)
            if self._is_preflight(request):
                request.route = PREFLIGHT._replace(error_body=request.route.error_body)
                request.endpoint = ENDPOINT
            return handler(request)

        return handle

    def _is_preflight(self, request: Request) -> bool:
        """Whether a browser asks what its page may send; another origin's is a request like any other."""
        asked = request.method == "OPTIONS" and b"access-control-request-method" in request.headers
        return asked and self._allows(request)

    def _mark(self, request: Request, send: Send) -> Send:
        """Add to the answer that is sent what lets the page read it."""
        headers = self._headers(request)

        async def marked(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start":
                message = message | {"headers": [*message["headers"], *headers]}  # type: ignore[misc]
            await send(message)

        return marked

    def _headers(self, request: Request) -> Headers:
        # A cache must not show one origin what was meant for another, nor for none.
        vary: Headers = () if self._any else ((b"vary", b"Origin"),)
        if not self._allows(request):
            return vary
        origin = b"*" if self._any else request.headers[b"origin"]
        return ((b"access-control-allow-origin", origin), (b"access-control-expose-headers", EXPOSED_HEADERS), *vary)

    def _allows(self, request: Request) -> bool:
        origin = request.headers.get(b"origin")
        return origin is not None and (self._any or origin in self._origins)
