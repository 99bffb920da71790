"""A proxy on loopback before a server, which answers some requests, or all, with 503."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from urllib.parse import urlsplit

HOP = {"connection", "content-length", "transfer-encoding", "date", "server"}


class Flaky:
    """What the proxy does now, and what it did."""

    def __init__(self) -> None:
        self.refuses_each = 0
        """Of so many requests one is answered with 503; 0: none, 1: all."""
        self.refused = 0
        self._numbers = count()

    def refuses(self) -> bool:
        """Whether the next request is answered with 503."""
        refused = bool(self.refuses_each) and next(self._numbers) % self.refuses_each == 0
        self.refused += refused
        return refused


def body_of(request: BaseHTTPRequestHandler) -> bytes:
    """The body of a request, whole or in chunks."""
    if request.headers.get("Transfer-Encoding", "").lower() != "chunked":
        return request.rfile.read(int(request.headers.get("Content-Length", 0)))
    parts = []
    while size := int(request.rfile.readline().partition(b";")[0], 16):
        parts.append(request.rfile.read(size))
        request.rfile.readline()
    while request.rfile.readline().strip():
        pass  # trailers
    return b"".join(parts)


@contextmanager
def flaky(address: str) -> Iterator[tuple[str, Flaky]]:
    """Show the server at `address`; the proxy's own address, and how it is made to fail."""
    server = urlsplit(address).netloc
    state = Flaky()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            self.close_connection = True  # so that no connection outlives the proxy
            body = body_of(self)
            if state.refuses():
                self._answer(
                    503, [], b"<Error><Code>SlowDown</Code><Message>Reduce your request rate</Message></Error>"
                )
                return
            connection = http.client.HTTPConnection(server, timeout=60)
            asked = {name: value for name, value in self.headers.items() if name.lower() not in HOP | {"expect"}}
            connection.request(self.command, self.path, body, asked | {"Content-Length": str(len(body))})
            answer = connection.getresponse()
            content = answer.read()
            headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in HOP]
            length = answer.getheader("Content-Length") if self.command == "HEAD" else None
            self._answer(answer.status, headers, content, length)
            connection.close()

        def _answer(
            self, status: int, headers: list[tuple[str, str]], content: bytes, length: str | None = None
        ) -> None:
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Connection", "close")
            self.send_header("Content-Length", length or str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = forward  # noqa: N815 - the base class's names

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    proxy.daemon_threads = False  # closing it waits for them
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{proxy.server_port}", state
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()
