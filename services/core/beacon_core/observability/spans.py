"""OpenTelemetry as Beacon uses it; imported only where spans are made (see trace_settings.py)."""

import contextlib
import sys
import traceback
from collections.abc import Iterator

from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider, sampling
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from beacon_core.domain.masking import message_of, message_with_type
from beacon_core.observability.trace_context import Trace
from beacon_core.observability.trace_settings import CONSOLE, TraceSettings

UNNAMED = "unknown_service"
"""The prefix of OpenTelemetry's default name for a service."""


class TraceIdGenerator(RandomIdGenerator):
    """Random ids, except for `next_trace` (0: none): the next trace gets this id, which the logs have too."""

    def __init__(self) -> None:
        self.next_trace = 0

    def generate_trace_id(self) -> int:
        chosen, self.next_trace = self.next_trace, 0
        return chosen or super().generate_trace_id()


class Tracer:
    """Makes this process's spans and sends them in the background. Not thread-safe."""

    def __init__(self, service: str, version: str, settings: TraceSettings) -> None:
        self._ids = TraceIdGenerator()
        self.provider = TracerProvider(_sampler(settings), _resource(service, version), id_generator=self._ids)
        self._senders = [BatchSpanProcessor(_exporter(name, settings)) for name in settings.exporters]
        for sender in self._senders:
            self.provider.add_span_processor(sender)
        self._tracer = self.provider.get_tracer("beacon")
        self._scope = InstrumentationScope("beacon")

    def begin(self, name: str, trace: Trace, kind: otel.SpanKind) -> otel.Span:
        """Start the first span of this process, in the caller's trace or as the root of a new one."""
        context = Context()
        if trace.parent_id:
            flags = otel.TraceFlags(trace.flags)
            parent = otel.SpanContext(
                int(trace.trace_id, 16), int(trace.parent_id, 16), is_remote=True, trace_flags=flags
            )
            context = otel.set_span_in_context(otel.NonRecordingSpan(parent), context)
        else:
            self._ids.next_trace = int(trace.trace_id, 16)
        return self._tracer.start_span(name, context, kind=kind)

    def add(self, parent: otel.Span, name: str, begin: int, end: int, call_id: int = 0, **attributes: str) -> None:
        """Send a span that is over, from `begin` to `end` in nanoseconds; `call_id` makes it a call of that span id.

        It is built as the exporter reads it: starting and ending a span costs more (decision 15).
        """
        above = parent.get_span_context()
        ids = above.trace_id, call_id or self._ids.generate_span_id()
        span = ReadableSpan(
            name,
            otel.SpanContext(*ids, is_remote=False, trace_flags=above.trace_flags),
            above,
            self.provider.resource,
            attributes,
            kind=otel.SpanKind.CLIENT if call_id else otel.SpanKind.INTERNAL,
            status=otel.Status(),
            start_time=begin,
            end_time=end,
            instrumentation_scope=self._scope,
        )
        for sender in self._senders:
            sender.on_end(span)

    def close(self) -> None:
        """Send what is left."""
        self.provider.shutdown()


@contextlib.contextmanager
def recording_failures(span: otel.Span) -> Iterator[None]:
    """Record on the span the exception that ends the block, as OpenTelemetry does, but masked and without values."""
    try:
        yield
    except Exception as error:
        message = message_of(error)
        stack = "".join(traceback.format_tb(error.__traceback__))
        kind = f"{type(error).__module__}.{type(error).__qualname__}"
        about = {
            "exception.type": kind,
            "exception.message": message,
            "exception.stacktrace": f"{stack}{kind}: {message}",
        }
        span.add_event("exception", about)
        span.set_status(otel.Status(otel.StatusCode.ERROR, message_with_type(error)))
        raise


def _resource(service: str, version: str) -> Resource:
    """OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES, with Beacon's defaults where they are not set."""
    found = Resource.create()
    name = str(found.attributes[SERVICE_NAME]).strip()
    own = {SERVICE_NAME: name if name and not name.startswith(UNNAMED) else f"beacon-{service}"}
    own |= {} if SERVICE_VERSION in found.attributes else {SERVICE_VERSION: version}
    return found.merge(Resource(own))


def _sampler(settings: TraceSettings) -> sampling.Sampler:
    root = {
        "always_on": sampling.ALWAYS_ON,
        "always_off": sampling.ALWAYS_OFF,
        "traceidratio": sampling.TraceIdRatioBased(settings.ratio),
    }[settings.sampler.removeprefix("parentbased_")]
    return sampling.ParentBased(root) if settings.sampler.startswith("parentbased_") else root


def _exporter(name: str, settings: TraceSettings) -> SpanExporter:
    if name == CONSOLE:
        # To stderr, one line per span, like the logs: a job's standard output is for its result.
        return ConsoleSpanExporter(out=sys.stderr, formatter=_line)
    return OTLPSpanExporter(timeout=settings.timeout_seconds)


def _line(span: ReadableSpan) -> str:
    return f"{span.to_json(indent=None)}\n"


def trace_of(span: otel.Span) -> Trace:
    """The trace context of a span, as the parent of further spans."""
    context = span.get_span_context()
    return Trace(f"{context.trace_id:032x}", f"{context.span_id:016x}", int(context.trace_flags))
