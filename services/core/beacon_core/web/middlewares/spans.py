"""Spans of a request: one for itself and a child for each stage, made of the timings that it has anyway."""

import os
from typing import TYPE_CHECKING, Any, cast

from beacon_core.observability.trace_context import SAMPLED
from beacon_core.observability.tracing import open_tracer
from beacon_core.web.http import Handler, Request, Response
from beacon_core.web.middlewares.chain import Middleware, not_needed

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from beacon_core.observability.spans import Tracer

CALL = "lookup"
"""The stage that asks another system: feature serving asks its store, inference asks feature serving."""


class Spans:
    """Makes the spans of a service's requests; `asked` are attributes of what the stage `lookup` asks."""

    def __init__(self, tracer: "Tracer", asked: dict[str, str]) -> None:
        self._tracer = tracer
        self._asked = asked

    def begin(self, request: Request) -> "Span":
        """Start the request's span. What the request calls from now on belongs to its `lookup`."""
        from opentelemetry.trace import SpanKind  # noqa: PLC0415 - only where spans are made

        span = self._tracer.begin(f"{request.method} {request.endpoint}", request.trace, SpanKind.SERVER)
        context = span.get_span_context()
        flags = request.trace.flags & ~SAMPLED | (context.trace_flags & SAMPLED)
        request.trace = request.trace._replace(parent_id=os.urandom(8).hex(), flags=flags)
        return span

    def end(self, span: "Span", request: Request, status: int) -> None:
        """End the request's span, with a child for each stage, in the order and length they had."""
        if not span.is_recording():
            return
        from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415

        moment: int = cast("Any", span).start_time  # the SDK's spans have it
        for stage, seconds in request.timings:
            begin, moment = moment, moment + int(seconds * 1e9)
            if stage == CALL and request.looked_up is not None:
                self._tracer.add(span, stage, begin, moment, int(request.trace.parent_id, 16), **self._asked)
            else:
                self._tracer.add(span, stage, begin, moment)
        # A route of the Flask half is known only now.
        span.update_name(f"{request.method} {request.endpoint}")
        attributes: dict[str, Any] = {f"beacon.{name}": value for name, value in request.log_fields().items()}
        attributes |= {"http.request.method": request.method, "http.route": request.endpoint}
        attributes |= {"http.response.status_code": status, "beacon.request_id": request.id}
        span.set_attributes({name: value for name, value in attributes.items() if value is not None})
        if status >= 500:
            span.set_status(Status(StatusCode.ERROR, request.error_code))
        span.end()

    def close(self) -> None:
        """Send what is left."""
        self._tracer.close()


def record_spans(spans: Spans | None) -> Middleware:
    """Make the spans of each request, from its begin until its response is sent and counted."""
    if spans is None:
        return not_needed

    def middleware(handler: Handler) -> Handler:
        async def handle(request: Request) -> Response:
            span = spans.begin(request)
            response = await handler(request)
            spans.end(span, request, response.status)
            return response

        return handle

    return middleware


def open_spans(service: str, version: str, **asked: str) -> Spans | None:
    """Return the span maker where traces are on, else None; log what is not supported of what was asked for.

    Dots in `asked` are written `__`.
    """
    tracer = open_tracer(service, version)
    return None if tracer is None else Spans(tracer, {name.replace("__", "."): value for name, value in asked.items()})
