"""CORS: which pages of other origins may ask a service, and read its answers; errors are answers, too.

Beacon reads no cookies, and so credentials are never allowed: whoever needs a key sends it in a header. A preflight is
answered inside the application, not by a middleware around it, so that it has an id, a log line and a count as well.
"""

from beacon_core.platform.http_settings import ANY
from beacon_core.web.http import Headers, Request, Response, Send

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


class Cors:
    """The rules of a service whose setting names `origins`: some, or `*`."""

    def __init__(self, origins: tuple[str, ...]) -> None:
        self._any = origins == (ANY,)
        self._origins = frozenset(origin.encode() for origin in origins)

    def preflight(self, request: Request) -> Response | None:
        """Answer a browser that asks what its page may send; None for any other request, or another origin's."""
        asked = request.method == "OPTIONS" and b"access-control-request-method" in request.headers
        if not asked or not self._allows(request):
            return None
        request.endpoint = ENDPOINT
        return Response(
            b"",
            content_type=b"text/plain",
            headers=(
                (b"access-control-allow-methods", METHODS),
                (b"access-control-allow-headers", REQUEST_HEADERS),
                (b"access-control-max-age", MAX_AGE_SECONDS),
            ),
        )

    def mark(self, request: Request, send: Send) -> Send:
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
