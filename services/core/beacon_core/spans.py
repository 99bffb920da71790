"""OpenTelemetry as Beacon uses it; imported only where an OTLP endpoint is configured.

Everything else is set by OpenTelemetry's own variables, such as OTEL_TRACES_SAMPLER.
"""

from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

from beacon_core.tracing import Trace


class ChosenIds(RandomIdGenerator):
    """Random ids, but for a next one that was chosen: 0 means that none was.

    A trace that begins here has the id that the logs have; a call names its span to the other side before it is made.
    """

    def __init__(self) -> None:
        self.next_trace, self.next_span = 0, 0

    def generate_trace_id(self) -> int:
        chosen, self.next_trace = self.next_trace, 0
        return chosen or super().generate_trace_id()

    def generate_span_id(self) -> int:
        chosen, self.next_span = self.next_span, 0
        return chosen or super().generate_span_id()


class Tracer:
    """Makes this process's spans and sends them in the background. Not for several threads."""

    def __init__(self, service: str, version: str) -> None:
        self._ids = ChosenIds()
        resource = Resource.create({"service.name": f"beacon-{service}", "service.version": version})
        self.provider = TracerProvider(resource=resource, id_generator=self._ids)
        self.provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self.provider.get_tracer("beacon")

    def begin(self, name: str, trace: Trace, kind: otel.SpanKind) -> otel.Span:
        """Start the first span of this process, within the caller's trace or as the beginning of its own."""
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
        """Add a span that is over, from `begin` to `end` in nanoseconds; `call_id` makes it a call of that span id."""
        self._ids.next_span = call_id
        kind = otel.SpanKind.CLIENT if call_id else otel.SpanKind.INTERNAL
        context = otel.set_span_in_context(parent, Context())
        self._tracer.start_span(name, context, kind=kind, attributes=attributes, start_time=begin).end(end_time=end)

    def close(self) -> None:
        """Send what is left."""
        self.provider.shutdown()


def trace_of(span: otel.Span) -> Trace:
    """The span as the parent of what comes of it."""
    context = span.get_span_context()
    return Trace(f"{context.trace_id:032x}", f"{context.span_id:016x}", int(context.trace_flags))
