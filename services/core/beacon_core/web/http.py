"""What a route sees and gives: `Request`, `Response`, `Route`."""

import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import msgspec

from beacon_core.domain.errors import BeaconError
from beacon_core.domain.ids import is_client_id, new_id
from beacon_core.observability.trace_context import Trace, read_trace

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Scope = dict[str, Any]
Headers = Sequence[tuple[bytes, bytes]]

JSON = b"application/json"
CHARSET = re.compile(rb";\s*charset\s*=\s*[\"']?([^;\"']*)", re.IGNORECASE)
IDENTITY = {b"identity", b""}
CHALLENGES = {401: b"Bearer", 403: b'Bearer error="insufficient_scope"'}
"""The header WWW-Authenticate of errors that another API key would help with (RFC 6750)."""
CHARSETS = {b"utf-8", b"utf8", b"us-ascii", b"ascii"}
encode_json = msgspec.json.Encoder().encode


async def _no_client(*_: Any) -> Any:
    raise RuntimeError("nobody waits for this request any more")


class RequestDetails(Protocol):
    """What a route adds to the telemetry of a request, after it was answered."""

    def log_fields(self) -> dict[str, Any]:
        """Return fields of the log line, which are attributes of the span, too."""

    def count(self) -> None:
        """Count what the route counts."""


class Request:
    """One request on its way through: what came in, and what the log line and the metrics will have of it.

    `scope`, `receive` and `send` are the server's, as ASGI has them. `id` is the client's X-Request-Id, else the
    trace's id; `route` is known once it is matched, and `path` holds the path's parameters; `timings` are pairs of
    stage and seconds; `looked_up` is for how many entities the stage `lookup` asked another system, None where it did
    not; `client` is the name of its API key, "anonymous" without one, and empty where its route asks for none;
    `details` are what its route adds to telemetry; `is_unread` is whether some of its body is still to come, after
    which the connection cannot be used again.
    """

    __slots__ = (
        "body",
        "client",
        "details",
        "endpoint",
        "error_code",
        "headers",
        "id",
        "is_unread",
        "looked_up",
        "method",
        "path",
        "receive",
        "route",
        "scope",
        "send",
        "started",
        "timings",
        "trace",
    )

    route: "Route"

    def __init__(self, scope: Scope, receive: Receive = _no_client, send: Send = _no_client) -> None:
        self.started = time.perf_counter()
        self.scope = scope
        self.receive = receive
        self.send = send
        self.method: str = scope["method"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        # Few requests bring a trace: the search for a doubled header is for those.
        traced = b"traceparent" in self.headers
        self.trace: Trace = read_trace(scope["headers"]) if traced else Trace(new_id())
        given = self.headers.get(b"x-request-id")
        name = given.decode("latin-1") if given else ""
        self.id = name if name and is_client_id(name) else self.trace.trace_id
        self.endpoint = "unmatched"
        self.error_code: str | None = None
        self.path: Mapping[str, str] = {}
        self.body = b""
        self.timings: list[tuple[str, float]] = []
        self.looked_up: int | None = None
        self.client = ""
        self.details: RequestDetails | None = None
        self.is_unread = False

    def release(self) -> None:
        """Let go of what only the answer needed: a body may be large, and telemetry keeps the request for a while."""
        self.body = b""
        self.scope = {}
        self.receive = self.send = _no_client

    def log_fields(self) -> dict[str, Any]:
        """Return what the log line and the span say of this request alone."""
        fields = {} if self.details is None else self.details.log_fields()
        if self.looked_up is not None:
            fields["looked_up"] = self.looked_up
        if self.client:
            fields["client"] = self.client
        return fields

    def header(self, name: bytes) -> str | None:
        """The header's text, or None; `name` in lower case."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")


class Response(NamedTuple):
    """An answer: status, body, content type and further headers; `complete` headers name type, length and id, too.

    `last` is False where the rest of the request's body is still to come, after which the connection ends.
    """

    body: bytes
    status: int = 200
    content_type: bytes = JSON
    headers: Headers = ()
    complete: bool = False
    last: bool = True


Handler = Callable[[Request], Awaitable[Response]]
ErrorBody = Callable[[BeaconError, Request], bytes]


def error_body(error: BeaconError, request: Request) -> bytes:
    """Beacon's own error shape, as JSON."""
    return encode_json(error.body(request.id))


class Route(NamedTuple):
    """A hot route: its template (the metric label `endpoint`), method, handler, and the body of its errors.

    `scope` is what an API key needs for it; None: everybody may ask.
    """

    template: str
    handler: Handler
    method: str = "POST"
    error_body: ErrorBody = error_body
    content_types: frozenset[bytes] = frozenset({JSON})
    scope: str | None = None

    @property
    def methods(self) -> tuple[str, ...]:
        """What it takes: whoever may GET may also ask for the HEAD."""
        return ("GET", "HEAD") if self.method == "GET" else (self.method,)


def require_content_type(request: Request, allowed: frozenset[bytes]) -> None:
    """Refuse a body of another type with 415; a body without a type is taken as the route's own."""
    if request.headers.get(b"content-encoding", b"identity").lower() not in IDENTITY:
        raise BeaconError("unsupported_media_type", "compressed bodies are not taken", "Content-Encoding")
    given = request.headers.get(b"content-type")
    if given is None or given in allowed:
        return
    if media_type(given) not in allowed:
        wanted = " or ".join(sorted(name.decode() for name in allowed))
        raise BeaconError("unsupported_media_type", f"send {wanted} in UTF-8", "Content-Type")
    if not is_utf8(given):
        rule = "text is taken in UTF-8 alone: charset utf-8 or utf8, or us-ascii or ascii, which are part of it"
        raise BeaconError("unsupported_media_type", rule, "Content-Type")


def media_type(content_type: bytes) -> bytes:
    """Return the type itself, without its parameters, in lower case."""
    return content_type.partition(b";")[0].strip().lower()


@lru_cache(maxsize=64)
def is_utf8(content_type: bytes) -> bool:
    """Whether every charset among the parameters is one that UTF-8 includes."""
    return {name.strip().lower().replace(b"_", b"-") for name in CHARSET.findall(content_type)} <= CHARSETS
