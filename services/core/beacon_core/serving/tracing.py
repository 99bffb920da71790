"""W3C trace context in and out, and OpenTelemetry spans when an OTLP endpoint is configured.

Without OTEL_EXPORTER_OTLP_ENDPOINT (or its _TRACES_ form) no span is made: all that is left is parsing one header.
"""

import os
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from beacon_core.ids import new_id

TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII | re.DOTALL)

# W3C: 512 characters must pass, and there are at most 32 members.
STATE_LENGTH = 512
STATE_MEMBERS = 32


class Trace(NamedTuple):
    """The trace a request belongs to; `parent_id` is empty where the trace begins here."""

    trace_id: str
    parent_id: str = ""
    flags: int = 0
    state: str = ""


def read_trace(headers: Iterable[tuple[bytes, bytes]]) -> Trace:
    """Continue the caller's trace, or begin a new one where the header is absent, doubled or invalid."""
    parents = [value for name, value in headers if name == b"traceparent"]
    if len(parents) != 1:
        return Trace(new_id())
    match = TRACEPARENT.fullmatch(parents[0].strip(b" \t"))
    if match is None:
        return Trace(new_id())
    version, trace_id, parent_id, flags, rest = match.groups()
    if version == b"ff" or (version == b"00" and rest) or not trace_id.strip(b"0") or not parent_id.strip(b"0"):
        return Trace(new_id())
    state = b",".join(value for name, value in headers if name == b"tracestate").decode("latin-1")
    if len(state) > STATE_LENGTH or state.count(",") >= STATE_MEMBERS:
        state = ""  # the caller's own matter: it must not make our calls too large to be taken
    # Unknown flags are cleared: only `sampled` and `random` are passed on.
    return Trace(trace_id.decode(), parent_id.decode(), int(flags, 16) & 0x03, state)


def outgoing_headers(trace: Trace, span_id: str = "") -> dict[str, str]:
    """Trace headers of a call made on behalf of the request; every call has a parent id of its own."""
    headers = {"traceparent": f"00-{trace.trace_id}-{span_id or os.urandom(8).hex()}-{trace.flags:02x}"}
    if trace.state:
        headers["tracestate"] = trace.state
    return headers


class Spans:
    """Makes one span a request with a child a stage, out of the timings that the request already has."""

    def __init__(self, service: str, version: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - only if on
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        resource = Resource.create({"service.name": f"beacon-{service}", "service.version": version})
        self._provider = TracerProvider(resource=resource)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("beacon")

    def begin(self, trace: Trace, name: str) -> Any:
        """Start the request's span within the caller's trace, or within the trace that begins here."""
        from opentelemetry import trace as otel  # noqa: PLC0415

        parent_id = trace.parent_id or os.urandom(8).hex()
        parent = otel.SpanContext(
            int(trace.trace_id, 16), int(parent_id, 16), is_remote=True, trace_flags=otel.TraceFlags(trace.flags | 1)
        )
        context = otel.set_span_in_context(otel.NonRecordingSpan(parent))
        return self._tracer.start_span(name, context=context, kind=otel.SpanKind.SERVER)

    def end(self, span: Any, status: int, stages: Sequence[tuple[str, float]], notes: dict[str, Any]) -> None:
        """End the request's span, with a child span for each stage, in the order and length they had."""
        from opentelemetry import trace as otel  # noqa: PLC0415

        moment = span.start_time
        context = otel.set_span_in_context(span)
        for stage, seconds in stages:
            child = self._tracer.start_span(stage, context=context, start_time=moment)
            moment += int(seconds * 1e9)
            child.end(end_time=moment)
        span.set_attribute("http.response.status_code", status)
        for name, value in notes.items():
            if isinstance(value, str | int | float | bool):
                span.set_attribute(f"beacon.{name}", value)
        if status >= 500:
            span.set_status(otel.StatusCode.ERROR)
        span.end()

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


def open_spans(service: str, version: str) -> Spans | None:
    """Return the span maker when an OTLP endpoint is configured, else None."""
    configured = any(os.environ.get(f"OTEL_EXPORTER_OTLP_{name}ENDPOINT") for name in ("", "TRACES_"))
    return Spans(service, version) if configured else None
