"""The ASGI application: hot routes first, the Flask app for the rest, the metrics on their own port."""

import asyncio
import gc
import logging
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, cast

from a2wsgi import WSGIMiddleware
from flask import Flask
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from beacon_core.domain.errors import BeaconError
from beacon_core.domain.masking import message_with_type
from beacon_core.observability import logs
from beacon_core.platform.http_settings import forwarded_prefix
from beacon_core.platform.settings import Settings
from beacon_core.web.cors import Cors
from beacon_core.web.http import (
    JSON,
    Receive,
    Request,
    Response,
    Route,
    Scope,
    Send,
    error_body,
    read_body,
    require_content_type,
)
from beacon_core.web.overload import Overload
from beacon_core.web.spans import Spans
from beacon_core.web.telemetry import AccessLog, Telemetry

log = logging.getLogger(__name__)

# Requests that wait for a Flask thread; more are shed.
FLASK_THREADS = 8
FLASK_QUEUE = 64
FORWARDED_PREFIX = b"x-forwarded-prefix"
LAST_PAGES_SECONDS = 5.0
YOUNG_OBJECTS = 10_000
# After these the rest of the body is not read: the connection cannot be used again.
REST_OF_BODY_UNREAD = frozenset({"body_too_large", "request_timeout"})


class Application:
    """One service's ASGI application.

    `routes` are the hot routes; a template's `{name}` matches one path segment. `start` runs before the first request
    is taken, `stop` after the last one was answered. Browsers let pages of `origins` ask. `head_seconds` and
    `idle_seconds` are what a connection may rest.
    """

    def __init__(
        self,
        *,
        service: str,
        settings: Settings,
        metrics_port: int | None,
        routes: Iterable[Route],
        flask: Flask,
        registry: CollectorRegistry,
        spans: Spans | None,
        origins: tuple[str, ...] = (),
        start: Callable[[], Awaitable[None]],
        stop: Callable[[], Awaitable[None]],
    ) -> None:
        self._limit = settings.max_body_bytes
        self._body_seconds = settings.body_timeout_seconds
        self.head_seconds = settings.head_timeout_seconds
        self.idle_seconds = settings.idle_timeout_seconds
        self._metrics_port = metrics_port
        self._registry = registry
        access_log = AccessLog(service, settings.build_version, settings.log_level) if settings.access_log else None
        self._telemetry = Telemetry(registry, access_log)
        self._spans = spans
        self._cors = Cors(origins) if origins else None
        self._prefix = settings.path_prefix
        self._start = start
        self._stop = stop
        self._exact: dict[str, Route] = {}
        self._patterns: list[tuple[re.Pattern[str], Route]] = []
        for route in routes:
            self._telemetry.declare(route.template, route.method)
            if "{" in route.template:
                self._patterns.append((_pattern(route.template), route))
            else:
                self._exact[route.template] = route
        for rule in flask.url_map.iter_rules():
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
                self._telemetry.declare(rule.rule, method, ("internal",))
        # a2wsgi's own names for the ASGI and WSGI types differ from ours in nothing but the name.
        self._flask: Any = WSGIMiddleware(cast("Any", flask.wsgi_app), workers=FLASK_THREADS)
        self._in_flask: set[asyncio.Task[None]] = set()
        self._overload = Overload(settings.overload_seconds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if scope["server"][1] == self._metrics_port:
                await self._answer_metrics(scope, send)
            else:
                await self._answer(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await send({"type": "websocket.close"})

    def refuse(self, error: BeaconError) -> Response:
        """The response to what could not be read as a request, counted."""
        request = Request({"method": "", "headers": ()})
        request.error_code = error.code
        self._telemetry.answered(request, error.status)
        return _failure(error, request, error_body)._replace(headers=[(b"x-request-id", request.id.encode())])

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        logs.request_id.set(request.id)
        logs.trace_id.set(request.trace.trace_id)
        scope = self._below_prefix(scope, request)
        route = self._match(scope["path"], request)
        preflight = None
        if self._cors is not None:
            send = self._cors.mark(request, send)
            preflight = self._cors.preflight(request)
        span = None if self._spans is None else self._spans.begin(request)
        try:
            body = await read_body(request, receive, self._limit, self._body_seconds)
            if body is None:
                return  # the client went away before it had asked anything
            request.body = body
            if preflight is not None:
                status = preflight.status
                await _send(send, request, preflight)
            elif route is None:
                status = await self._answer_by_flask(scope, request, send)
            else:
                response = await self._call(route, request)
                status = response.status
                await _send(send, request, response)
        except BeaconError as error:
            status = error.status
            request.error_code = error.code
            response = _failure(error, request, error_body if route is None else route.error_body)
            await _send(send, request, response, close=error.code in REST_OF_BODY_UNREAD)
        seconds = self._telemetry.answered(request, status)
        if self._spans is not None and span is not None:
            self._spans.end(span, request, status)
            self._telemetry.add_exemplar(request, seconds)

    def _below_prefix(self, scope: Scope, request: Request) -> Scope:
        """Take a proxy's path off, if it left it there; `root_path` is what pages put before their links."""
        forwarded = request.headers.get(FORWARDED_PREFIX)
        if not self._prefix and forwarded is None:
            return scope
        path: str = scope["path"]
        left_there = bool(self._prefix) and (path + "/").startswith(self._prefix + "/")
        if left_there:
            path = path[len(self._prefix) :] or "/"
        root = forwarded_prefix(forwarded) if forwarded else ""
        if not root or (left_there and not root.endswith(self._prefix)):
            root += self._prefix  # what one proxy took off lies before what another one left there
        return scope | {"path": path, "root_path": root}

    def _match(self, path: str, request: Request) -> Route | None:
        route = self._exact.get(path)
        if route is None:
            for pattern, candidate in self._patterns:
                match = pattern.fullmatch(path)
                if match is not None:
                    request.path = match.groupdict()
                    route = candidate
                    break
        if route is None:
            return None
        request.endpoint = route.template
        return route

    async def _call(self, route: Route, request: Request) -> Response:
        try:
            if request.method not in route.methods:
                raise BeaconError("method_not_allowed", f"{route.template} takes {route.method}")
            if request.method == "POST":
                if self._overload.should_shed(request.started):
                    raise BeaconError("overloaded", "more requests wait than can be answered in time; try again")
                require_content_type(request, route.content_types)
            return await route.handler(request)
        except BeaconError as error:
            return _refuse(error, request, route)
        except Exception:
            # The last line: whatever it was, the client gets a 500 and the log the stack.
            log.exception("unexpected error")
            internal = BeaconError("internal", "unexpected error; the request id finds it in the log")
            return _refuse(internal, request, route)

    async def _answer_by_flask(self, scope: Scope, request: Request, send: Send) -> int:
        if len(self._in_flask) >= FLASK_QUEUE:
            raise BeaconError("overloaded", "too many requests wait; try again")
        start: dict[str, Any] = {}
        chunks: list[bytes] = []

        async def receive_whole() -> dict[str, Any]:
            return {"type": "http.request", "body": request.body, "more_body": False}

        async def keep(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                chunks.append(message.get("body", b""))

        # a2wsgi takes `root_path` off the path again.
        scope = scope | {"beacon.request": request, "path": scope.get("root_path", "") + scope["path"]}
        # Also to its end when the client goes away: the thread would wait for ever to hand over its answer.
        running = asyncio.create_task(self._flask(scope, receive_whole, keep))
        self._in_flask.add(running)
        running.add_done_callback(self._in_flask.discard)
        await asyncio.shield(running)
        # In one go, as the last thing: gunicorn forgets a request that comes in while the one before still runs.
        headers = [*start["headers"], (b"x-request-id", request.id.encode())]
        await send(start | {"headers": headers})
        await send({"type": "http.response.body", "body": b"".join(chunks)})
        return int(start["status"])

    async def _answer_metrics(self, scope: Scope, send: Send) -> None:
        request = Request(scope)
        if scope["path"] == "/metrics" and request.method in {"GET", "HEAD"}:
            self._telemetry.flush()
            encode, kind = choose_encoder(request.header(b"accept") or "")
            body: bytes = await asyncio.to_thread(encode, self._registry)
            await _send(send, request, Response(body, content_type=kind.encode()))
        elif scope["path"] == "/livez":
            await _send(send, request, Response(b'{"live":true}'))
        else:
            await _send(
                send, request, _failure(BeaconError("not_found", "this port has /metrics"), request, error_body)
            )

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self._start()
        except Exception as error:
            log.exception("start failed")
            await send({"type": "lifespan.startup.failed", "message": message_with_type(error)})
            raise
        self._overload.start()
        # What is loaded now stays: a full collection would walk all of it, and every request would wait for that.
        gc.freeze()
        # What a request makes dies with it. Looked for after every 700 objects, as by default, some of it still lives.
        gc.set_threshold(YOUNG_OBJECTS)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self._in_flask:  # pages that nobody waits for any more
            await asyncio.wait(self._in_flask, timeout=LAST_PAGES_SECONDS)
        await self._stop()
        self._telemetry.flush()
        if self._spans is not None:
            await asyncio.to_thread(self._spans.close)
        await send({"type": "lifespan.shutdown.complete"})


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(template)))


def _refuse(error: BeaconError, request: Request, route: Route) -> Response:
    request.error_code = error.code
    return _failure(error, request, route.error_body, route.methods)


def _failure(
    error: BeaconError,
    request: Request,
    body: Callable[[BeaconError, Request], bytes],
    methods: tuple[str, ...] = (),
) -> Response:
    headers: tuple[tuple[bytes, bytes], ...] = ((b"retry-after", b"1"),) if error.status == 503 else ()
    if error.code == "method_not_allowed":
        headers = ((b"allow", ", ".join(methods).encode()),)
    return Response(body(error, request), error.status, JSON, headers)


async def _send(send: Send, request: Request, response: Response, *, close: bool = False) -> None:
    headers = [
        (b"content-type", response.content_type),
        (b"content-length", str(len(response.body)).encode()),
        (b"x-request-id", request.id.encode()),
        *response.headers,
    ]
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if request.method == "HEAD" else response.body})
