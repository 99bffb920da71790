"""The ASGI application: the middlewares in their order, the hot routes and the Flask half behind them, and its life."""

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping

from flask import Flask
from prometheus_client import CollectorRegistry

from beacon_core.domain.errors import BeaconError
from beacon_core.domain.masking import message_with_type
from beacon_core.platform.settings import Settings
from beacon_core.web.access import AccessControl
from beacon_core.web.flask_bridge import FlaskBridge
from beacon_core.web.http import ErrorBody, Receive, Request, Response, Route, Scope, Send, error_body
from beacon_core.web.metrics_port import metrics_handler
from beacon_core.web.middlewares.access import check_access
from beacon_core.web.middlewares.body import ClientDisconnectedError, end_after_body, limit_body
from beacon_core.web.middlewares.chain import compose
from beacon_core.web.middlewares.cors import allow_origins
from beacon_core.web.middlewares.errors import failure, map_errors
from beacon_core.web.middlewares.head import check_head
from beacon_core.web.middlewares.log_context import log_context
from beacon_core.web.middlewares.overload import Overload, shed_load
from beacon_core.web.middlewares.path_prefix import strip_path_prefix
from beacon_core.web.middlewares.response import send_response
from beacon_core.web.middlewares.routing import allow_methods, call_route, check_content_type, match_route
from beacon_core.web.middlewares.spans import Spans, record_spans
from beacon_core.web.middlewares.telemetry import UNMATCHED, AccessLog, Telemetry

log = logging.getLogger(__name__)

YOUNG_OBJECTS = 10_000


class Application:
    """One service's ASGI application.

    `routes` are the hot routes; a template's `{name}` matches one path segment. `start` runs before the first request
    is taken, `stop` after the last one was answered. Browsers let pages of `origins` ask. `head_seconds` and
    `idle_seconds` are what a connection may rest. `promised_seconds` is the service's promise to answer. `access`
    checks the API keys of routes that have a scope; `flask_scopes` has those of the Flask half, by its
    rules, whose errors before Flask has them are of `flask_error_body`.
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
        access: AccessControl | None = None,
        flask_scopes: Mapping[str, str] = {},
        flask_error_body: ErrorBody = error_body,
        origins: tuple[str, ...] = (),
        promised_seconds: float | None = None,
        start: Callable[[], Awaitable[None]],
        stop: Callable[[], Awaitable[None]],
    ) -> None:
        self.head_seconds = settings.head_timeout_seconds
        self.idle_seconds = settings.idle_timeout_seconds
        self._metrics_port = metrics_port
        self._spans = spans
        self._start = start
        self._stop = stop
        access_log = AccessLog(service, settings.build_version, settings.log_level) if settings.access_log else None
        self._telemetry = Telemetry(
            registry, access_log, exemplars=spans is not None, promised_seconds=promised_seconds
        )
        self._overload = Overload(settings.overload_seconds)
        self._flask = FlaskBridge(flask)
        routes = list(routes)
        self._declare(routes, flask)
        matched = [self._checked(route) for route in routes]
        matched += [
            Route(rule, self._flask.handle, error_body=flask_error_body, scope=scope)
            for rule, scope in flask_scopes.items()
        ]

        # Every request passes these on its way in, from the first to the last, and its response on the way out.
        self._answer = compose(
            (
                log_context,
                strip_path_prefix(settings.path_prefix),
                match_route(matched, Route(UNMATCHED, self._flask.handle)),
                allow_origins(origins),
                record_spans(spans),
                self._telemetry.record,
                send_response,
                map_errors,
                check_head,
                check_access(access, settings.body_timeout_seconds),
                limit_body(settings.max_body_bytes, settings.body_timeout_seconds),
            ),
            call_route,
        )
        self._answer_metrics = compose((send_response,), metrics_handler(registry, self._telemetry.flush))

    def _checked(self, route: Route) -> Route:
        """A hot route, with what its requests pass besides; the Flask half has its own checks, and its own queue."""
        checks = [allow_methods(route)]
        if route.method == "POST":
            checks += [shed_load(self._overload), check_content_type(route)]
        return route._replace(handler=compose(checks, route.handler))

    def _declare(self, routes: Iterable[Route], flask: Flask) -> None:
        for route in routes:
            self._telemetry.declare(route.template, route.method)
        for rule in flask.url_map.iter_rules():
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
                self._telemetry.declare(rule.rule, method, ("internal",))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            answer = self._answer_metrics if scope["server"][1] == self._metrics_port else self._answer
            try:
                response = await answer(Request(scope, receive, send))
            except ClientDisconnectedError:
                return
            if not response.last:
                await end_after_body(receive, send)
        else:
            await self._live(receive, send)

    def refuse(self, error: BeaconError) -> Response:
        """The response to what could not be read as a request, counted."""
        request = Request({"method": "", "headers": ()})
        response = failure(error, request, error_body)._replace(headers=[(b"x-request-id", request.id.encode())])
        self._telemetry.answered(request, error.status)
        return response

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
        await self._flask.drain()
        await self._stop()
        self._telemetry.flush()
        if self._spans is not None:
            await asyncio.to_thread(self._spans.close)
        await send({"type": "lifespan.shutdown.complete"})
