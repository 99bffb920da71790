"""One client's connection: uvicorn's, with what it leaves to a proxy in front.

A head has a time and a size. What is no request gets Beacon's error body, in its turn, and is counted. Who ends its
half of the connection is answered, and so is who offers another protocol beside a body, as Java's client does.
"""

import asyncio
import sys
from typing import Any

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from beacon_core.domain.errors import BeaconError

MOST_HEAD_BYTES = 16_384
# How long a refused client may go on sending, and how long one may still ask when the server stops.
LINGER_SECONDS, DRAIN_SECONDS = 5.0, 1.0


class Parser(httptools.HttpRequestParser):
    """httptools', which skips the body of a request that offers an upgrade: such a head is read again without it."""

    connection: Any

    def feed_data(self, data: Any) -> None:
        try:
            super().feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            if self.get_method() == b"CONNECT":
                raise httptools.HttpParserInvalidMethodError("CONNECT is for proxies") from None
            fields = [b"%s: %s" % field for field in self.connection.headers if field[0] != b"upgrade"]
            line = b"%s %s HTTP/%s" % (self.get_method(), self.connection.url, self.get_http_version().encode())
            self.connection.begin_to_parse()
            self.connection.parser.feed_data(b"\r\n".join([line, *fields, b"", data[offer.args[0] :]]))


class Flow(FlowControl):
    """Reads no further while requests wait for their turn: they could fill the memory."""

    pipeline: Any

    def resume_reading(self) -> None:
        if not self.pipeline:
            super().resume_reading()


class Connection(HttpToolsProtocol):
    """A connection; its application says how long a client may rest, and words refusals."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.begin_to_parse()
        self.timeout_keep_alive = self.app.idle_seconds
        self._timer: asyncio.TimerHandle | None = None
        self._refusal: BeaconError | None = None
        self._unread = 0
        self._draining = self._client_ended = False

    def begin_to_parse(self) -> None:
        self.parser = Parser(self)
        self.parser.connection = self
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.flow = Flow(transport)
        self.flow.pipeline = self.pipeline
        self._arm(self.app.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - with one uvicorn keeps its timer
        self._arm(None)
        super().connection_lost(None)

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            return
        before = self._progress()
        super().data_received(data)
        self._unread = self._unread + len(data) if self._progress() == before else 0
        if self._unread > MOST_HEAD_BYTES:
            self._refuse("headers_too_large", f"a request's head has at most {MOST_HEAD_BYTES} bytes")
        elif self._refusal is None and self._in_head() != (self._timer is not None):
            self._arm(self.app.head_seconds if self._in_head() else None)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Whether a request that has come whole is still to be answered."""
        self._client_ended = not self._is_idle() and bool(self.pipeline or not self.cycle.more_body)
        return self._client_ended

    def shutdown(self) -> None:
        """Answer what comes in the next moment, too: a client may have sent it already."""
        if self._draining or not self._is_idle():
            super().shutdown()
        else:
            self._draining = True
            self.loop.call_later(DRAIN_SECONDS, self.shutdown)

    def on_headers_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_headers_complete()
            self.headers = []  # fields behind the body are none of its head
            self.cycle.keep_alive &= not self._draining

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        last = not self.pipeline
        super().on_response_complete()
        if last and self._refusal is not None:
            self._send(self._refusal)
        elif last and self._client_ended:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's names no reason
        self._refuse("invalid_request", f"this is no request of HTTP/1.1: {sys.exception()}")

    def _refuse(self, code: str, message: str) -> None:
        """Refuse what comes: once all before it is answered, and in place of the request whose body it is."""
        self._refusal = BeaconError(code, message)
        if not self._is_idle() and not self._in_head() and self.cycle.more_body:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.pipeline:
                self.pipeline.popleft()
            else:
                self._send(self._refusal)
        elif self._is_idle():
            self._send(self._refusal)

    def _send(self, error: BeaconError) -> None:
        response = self.app.refuse(error)
        fields = [*response.headers, (b"content-type", response.content_type), (b"connection", b"close")]
        lines = [b"%s: %s" % field for field in fields] + [b"content-length: %d" % len(response.body)]
        self.transport.write(STATUS_LINE[response.status] + b"\r\n".join([*lines, b"", response.body]))
        self.transport.write_eof()  # closed at once, the connection could be reset before the client has read
        self._arm(LINGER_SECONDS)

    def _progress(self) -> tuple[Any, int]:
        return self.cycle, 0 if self.cycle is None else len(self.cycle.body)

    def _in_head(self) -> bool:
        return self.scope is not None and (self.cycle is None or self.cycle.scope is not self.scope)

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _arm(self, seconds: float | None) -> None:
        """Give the client this long to go on; None: as long as the application does."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self.loop.call_later(seconds, self._too_late)

    def _too_late(self) -> None:
        if self._in_head() and self._refusal is None:
            self._refuse("request_timeout", f"the request's head did not come within {self.app.head_seconds:g} seconds")
        else:
            self.transport.abort()
