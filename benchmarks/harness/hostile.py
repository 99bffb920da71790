"""Requests byte by byte: what a proxy could read in another way must be refused, and odd but good forms be answered.

The application's middlewares are the same behind every server, so the counts tell what a server leaves to them.
tests/system/http holds Beacon to many more of these forms.
"""

import contextlib
import socket
import time

import msgspec

GET, POST = b"GET /livez HTTP/1.1\r\nHost: x\r\n", b"POST /livez HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
ENDLESS_BYTES = 2_000_000
ANSWER_SECONDS = 5.0
MINGLED = (404, 405)
"""The application's answers to a request that was let through."""

AMBIGUOUS = {
    "two lengths that differ": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
    "length and chunks": POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "signed length": POST + b"Content-Length: +2\r\n\r\n{}",
    "list as length": POST + b"Content-Length: 2, 2\r\n\r\n{}",
    "blank before a colon": POST + b"Content-Length : 2\r\n\r\n{}",
    "folded header": POST + b"A: b\r\n Content-Length: 2\r\n\r\n{}",
    "chunked twice": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "unknown coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n",
    "chunked under HTTP/1.0": b"POST /livez HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunk longer than its size": CHUNKED + b"2\r\n{}XX0\r\n\r\n",
    "chunk size ended by a line feed": CHUNKED + b"2\n{}\r\n0\r\n\r\n",
    "chunk size as 0x2": CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n",
    "negative chunk size": CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n",
    "line feeds for line ends": b"GET /livez HTTP/1.1\nHost: x\n\n",
    "line feed in a header": GET + b"A: b\nContent-Length: 2\r\n\r\n",
    "carriage return in a header": GET + b"A: b\rContent-Length: 2\r\n\r\n",
    "NUL in a header": GET + b"A: b\0\r\n\r\n",
    "NUL in the target": b"GET /livez\0 HTTP/1.1\r\nHost: x\r\n\r\n",
    "no host": b"GET /livez HTTP/1.1\r\n\r\n",
    "two hosts": GET + b"Host: y\r\n\r\n",
    "no version": b"GET /livez\r\nHost: x\r\n\r\n",
    "control character in a name": GET + b"A\x01: b\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\r\n",
    "target without end": b"GET /" + b"a" * ENDLESS_BYTES,
    "header without end": GET + b"A: " + b"a" * ENDLESS_BYTES,
    "headers without end": GET + b"A: b\r\n" * (ENDLESS_BYTES // 6),
    "trailers without end": CHUNKED + b"0\r\n" + b"A: b\r\n" * (ENDLESS_BYTES // 6),
}


class Sockets(msgspec.Struct, frozen=True):
    """How many cases of each kind there are, and those that were answered wrongly."""

    ambiguous: int
    good: int
    wrong: tuple[str, ...]


def good_forms(path: str, body: bytes) -> dict[str, bytes]:
    """Requests in odd but correct forms; each must be answered 200."""
    length = b"Content-Length: %d\r\n" % len(body)
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" % path.encode()
    halves = body[: len(body) // 2], body[len(body) // 2 :]
    chunks = b"".join(b"%x;a=b\r\n%s\r\n" % (len(half), half) for half in halves)
    absolute = head.replace(b"POST /", b"POST http://x/")
    return {
        "chunks with extensions": head + b"Transfer-Encoding: Chunked\r\n\r\n" + chunks + b"0\r\n\r\n",
        "a trailer": head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\nX-Sum: 1\r\n\r\n",
        "Expect: 100-Continue": head + length + b"Expect: 100-Continue\r\n\r\n" + body,
        "absolute target": absolute + length + b"\r\n" + body,
        "an offer of h2c": head + length + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + body,
        "HTTP/1.0": head.replace(b"HTTP/1.1", b"HTTP/1.0") + length + b"\r\n" + body,
        "media type in capitals": head.replace(b"application/json", b"Application/JSON") + length + b"\r\n" + body,
        "line ends before it": b"\r\n\r\n" + head + length + b"\r\n" + body,
    }


def try_sockets(port: int, path: str, body: bytes) -> Sockets:
    """Send every case on a connection of its own; each good one also by a client that ends its sending half."""
    wrong = [name for name, request in AMBIGUOUS.items() if not _is_refusal(answer(port, request))]
    good = good_forms(path, body)
    for half_close in (False, True):
        ending = ", then the end of the sending half" if half_close else ""
        wrong += [name + ending for name, request in good.items() if answer(port, request, half_close) != 200]
    return Sockets(len(AMBIGUOUS), 2 * len(good), tuple(wrong))


def answer(port: int, request: bytes, half_close: bool = False) -> int | None:
    """The status of the first answer but 100 Continue; 0 when the connection ends without one, None when none comes."""
    deadline, received = time.monotonic() + ANSWER_SECONDS, b""
    with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS) as client:
        with contextlib.suppress(ConnectionError):  # who refuses early may close while the rest is sent
            client.sendall(request)
            if half_close:
                client.shutdown(socket.SHUT_WR)
        while time.monotonic() < deadline:
            status = _status(received)
            if status is not None:
                return status
            try:
                part = client.recv(65536)
            except ConnectionError:
                return 0
            except TimeoutError:
                return None
            if not part:
                return 0
            received += part
    return None


def _status(received: bytes) -> int | None:
    """The first status in the bytes so far; None where its line has not all come."""
    while received.startswith(b"HTTP/1.1 100"):
        received = received.partition(b"\r\n\r\n")[2]
    line, end, _ = received.partition(b"\r\n")
    return int(line.split()[1]) if end else None


def _is_refusal(status: int | None) -> bool:
    """Whether the request was refused as such: by 4xx, 501 or 505 of the server, or by the end of the connection."""
    if status is None or status in MINGLED:
        return False
    return status in {0, 501, 505} or 400 <= status < 500
