"""One client's connection: gunicorn's, with what it lacks.

- What cannot be read as a request gets the same error body as every other refusal, and is counted.
- What a client sends behind a request is read once that one is answered. (There it is forgotten, and the client waits.)
- The body of a HEAD is its body. (There it is the next request, and a client of a proxy could send one for others.)
- A client that expects `100 Continue` gets it. (There it waits: curl a second, others longer.)
- Each client has a time by which it must go on. (There a silent one keeps its connection for ever.)

gunicorn 27 mends these, but for clients that never end the head of a request. MLflow does not take it yet.
"""

import asyncio
import http
from typing import TYPE_CHECKING, Any

from gunicorn.asgi.parser import LimitRequestHeaders, LimitRequestLine, ParseError
from gunicorn.asgi.protocol import ASGIProtocol

from beacon_core.domain.errors import BeaconError
from beacon_core.web.parser import Parser

if TYPE_CHECKING:
    from beacon_core.web.worker import Worker

NEVER = float("inf")
# What the parser keeps of the bytes behind a request's end.
PART_BYTES = 65_536
EXPECTS = (b"expect", b"100-continue")

# The parser's errors, the narrower first.
UNREADABLE = (
    (LimitRequestLine, "uri_too_long"),
    (LimitRequestHeaders, "headers_too_large"),
    (ParseError, "invalid_request"),
)


class Connection(ASGIProtocol):  # type: ignore[misc]
    """A connection to `worker`, which asks it now and then whether its client has been silent for too long."""

    worker: "Worker"

    def __init__(self, worker: "Worker") -> None:
        super().__init__(worker)
        self._behind = b""
        self._head_begun = False
        self._continue_sent = False
        self._deadline = NEVER

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._within(self.app.head_seconds)
        self.worker.connections.add(self)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.worker.connections.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on to the end of a request; what is behind it waits until that one is answered."""
        self._behind += data
        self._read()

    def pause_writing(self) -> None:
        self._within(self.app.idle_seconds)
        super().pause_writing()

    def end_if_silent(self, now: float) -> None:
        """End the connection if its client has not gone on in time; `now` is the loop's."""
        if now < self._deadline:
            return
        if self._head_begun:
            self._refuse("request_timeout", f"the request's head did not come within {self.app.head_seconds:g} seconds")
        else:
            self.transport.abort()  # what is still to be written nobody takes

    def _read(self) -> None:
        while self._behind and not self._closed:
            parser: Any = self._callback_parser
            if parser is None:  # it has another protocol by now
                rest, self._behind = self._behind, b""
                super().data_received(rest)
            elif parser.is_complete:
                if len(self._behind) > PART_BYTES:
                    self._pause_reading()
                return
            else:
                part, rest = self._behind[:PART_BYTES], self._behind[PART_BYTES:]
                super().data_received(part)
                self._behind = parser.remaining() + rest if parser.is_complete else rest
                if not parser.is_complete and not self._closed:
                    self._wait_for_more()

    def _wait_for_more(self) -> None:
        request = self._current_request
        if request is None:
            if not self._head_begun:
                self._head_begun = True
                self._within(self.app.head_seconds)
        elif not self._continue_sent:
            self._continue_sent = True
            if EXPECTS in request.headers_bytes:
                self._safe_write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _within(self, seconds: float) -> None:
        self._deadline = self.worker.loop.time() + seconds

    def _refuse(self, code: str, message: str) -> None:
        self._deadline = NEVER
        response = self.app.refuse(BeaconError(code, message))
        lines = [
            b"HTTP/1.1 %d %s" % (response.status, http.HTTPStatus(response.status).phrase.encode()),
            b"content-type: " + response.content_type,
            b"content-length: %d" % len(response.body),
            b"connection: close",
            *(name + b": " + value for name, value in response.headers),
        ]
        self._safe_write(b"\r\n".join([*lines, b"", response.body]))
        self._close_transport()

    # The rest gunicorn calls, at its turns from one request to the next.

    def _on_headers_complete(self) -> bool:
        super()._on_headers_complete()
        self._head_begun = False
        self._deadline = NEVER
        self._continue_sent = False
        return False  # a body may follow, whatever the method

    def _setup_callback_parser(self) -> None:
        self._callback_parser = Parser(
            on_headers_complete=self._on_headers_complete,
            on_body=self._on_body,
            on_message_complete=self._on_message_complete,
            limit_request_line=self.cfg.limit_request_line,
            limit_request_fields=self.cfg.limit_request_fields,
            limit_request_field_size=self.cfg.limit_request_field_size,
        )

    def _feed_callback_parser(self, data: bytes) -> bool:
        try:
            self._callback_parser.feed(data)
        except ParseError as error:
            self._refuse(next(code for kind, code in UNREADABLE if isinstance(error, kind)), str(error))
            return False
        return True

    def _arm_keepalive_timer(self) -> None:
        """A request is answered, and the parser is ready for the next."""
        self._within(self.app.idle_seconds)
        self._read()

    def _cancel_keepalive_timer(self) -> None:
        """Does nothing: the timer would be stopped before it could ever run out."""
