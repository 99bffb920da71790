"""A real OTLP/HTTP receiver: it takes what OpenTelemetry's exporters send, and keeps the spans."""

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Received(NamedTuple):
    """A span as it came over the wire, and the resource that sent it."""

    resource: dict[str, str]
    span: Any

    @property
    def service(self) -> str:
        """The resource's `service.name`."""
        return self.resource["service.name"]

    @property
    def name(self) -> str:
        """The span's name."""
        return str(self.span.name)

    @property
    def kind(self) -> str:
        """SERVER, CLIENT or INTERNAL."""
        return str(Span.SpanKind.Name(self.span.kind)).removeprefix("SPAN_KIND_")

    @property
    def attributes(self) -> dict[str, Any]:
        """The span's attributes."""
        return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in self.span.attributes}

    @property
    def failed(self) -> bool:
        """Whether its status is an error."""
        return bool(self.span.status.code == 2)


class Receiver(ThreadingHTTPServer):
    """An OTLP/HTTP receiver that keeps what it is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Taker)
        self.spans: list[Received] = []
        self.paths: set[str] = set()
        self.headers: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        """What OTEL_EXPORTER_OTLP_ENDPOINT is set to."""
        return f"http://127.0.0.1:{self.server_port}"

    def of_trace(self, trace_id: str) -> list[Received]:
        """The spans of a trace, in the order of their beginning, parents first."""
        found = [each for each in self.spans if each.span.trace_id.hex() == trace_id]
        return sorted(found, key=lambda each: (each.span.start_time_unix_nano, -each.span.end_time_unix_nano))

    def below(self, parent: Received) -> list[Received]:
        """The children of a span, in the order of their beginning."""
        family = self.of_trace(parent.span.trace_id.hex())
        return [each for each in family if each.span.parent_span_id == parent.span.span_id]


class Taker(BaseHTTPRequestHandler):
    """Answers one export."""

    server: Receiver

    def do_POST(self) -> None:
        """Keep the spans."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["Content-Type"] == "application/x-protobuf"
        self.server.paths.add(self.path)
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            about = {item.key: item.value.string_value for item in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.server.spans += [Received(about, span) for span in scope.spans]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver, for the length of the block."""
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
