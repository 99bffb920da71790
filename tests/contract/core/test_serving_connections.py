"""The real server and one client's connection: what comes at once, what is no request, and who falls silent."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import httpx
import pytest
from support.load import PREDICT
from support.packages import release_package
from support.server import Server, serving
from support.service import samples
from support.waiting import until

from beacon_core.domain.product import Product

HEAD_SECONDS = 1.5
IDLE_SECONDS = 4.0
READY = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"
pytestmark = [pytest.mark.xdist_group("serving-connections"), pytest.mark.slow]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, product: Product) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("connections")
    release_package(home, product)
    times = {"head_timeout_seconds": HEAD_SECONDS, "idle_timeout_seconds": IDLE_SECONDS}
    with serving(home, access_log="false", **times) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connected:
        yield connected


def post(path: str, body: object) -> bytes:
    content = json.dumps(body).encode()
    return b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (path.encode(), len(content), content)


class Answers:
    """Reads the answers of a connection, one after the other."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.headers: dict[str, str] = {}

    def next(self, *, bodiless: bool = False) -> tuple[int, bytes]:
        """Status and body; its headers are kept until the next."""
        status = self._stream.readline()
        assert status, "closed before it was answered"
        self.headers = {}
        while (line := self._stream.readline()) != b"\r\n":
            name, _, value = line.partition(b":")
            self.headers[name.decode().lower()] = value.decode().strip()
        length = 0 if bodiless else int(self.headers.get("content-length", 0))
        return int(status.split()[1]), self._stream.read(length)

    def rest(self) -> bytes:
        """What comes until the server ends the connection."""
        return self._stream.read()


@pytest.fixture
def answers(client: socket.socket) -> Iterator[Answers]:
    with client.makefile("rb") as stream:
        yield Answers(stream)


def metrics(server: Server) -> dict[str, float]:
    return samples(httpx.get(f"http://127.0.0.1:{server.metrics_port}/metrics").text)


@pytest.mark.parametrize("piece", [1, 100, 1 << 20])
def test_what_comes_at_once_is_answered_in_order(
    client: socket.socket, answers: Answers, row: dict[str, float], piece: int
) -> None:
    good, bad = post(PREDICT, {"features": row}), post(PREDICT, {"features": {"RM": 99}})
    content = (good + READY + bad + b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n") * 3
    for first in range(0, len(content), piece):
        client.sendall(content[first : first + piece])
    assert [answers.next()[0] for _ in range(12)] == [200, 200, 422, 404] * 3


def test_more_may_come_at_once_than_the_server_keeps(
    client: socket.socket, answers: Answers, row: dict[str, float]
) -> None:
    batch = post(f"{PREDICT}/batch", {"rows": [{"features": row}] * 500})  # 100 kB, more than the parser keeps
    single = post(PREDICT, {"features": row})
    content = (batch + single * 10) * 40
    sender = threading.Thread(target=client.sendall, args=(content,))
    sender.start()
    found = [json.loads(answers.next()[1]) for _ in range(11 * 40)]
    sender.join(30)
    assert len(content) > 3_000_000
    assert [len(answer.get("predictions", [0])) for answer in found] == ([500] + [1] * 10) * 40


def test_the_body_of_a_head_is_its_body(client: socket.socket, answers: Answers) -> None:
    hidden = b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"
    client.sendall(b"HEAD /readyz HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(hidden))
    time.sleep(0.2)
    client.sendall(hidden + READY)
    assert answers.next(bodiless=True)[0] == 200
    assert answers.next()[0] == 200
    client.shutdown(socket.SHUT_WR)
    assert answers.rest() == b""


def test_who_asks_whether_to_go_on_is_told_to(client: socket.socket, answers: Answers, row: dict[str, float]) -> None:
    head, _, body = post(PREDICT, {"features": row}).partition(b"\r\n\r\n")
    for _ in range(2):
        client.sendall(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert answers.next() == (100, b"")
        client.sendall(body[:20])
        time.sleep(0.1)
        client.sendall(body[20:])
        assert answers.next()[0] == 200, "and told once"


UNREADABLE = {
    "no HTTP": (b"GARBAGE\r\n\r\n", 400, "invalid_request"),
    "another version": (b"GET / HTTP/9.9\r\n\r\n", 400, "invalid_request"),
    "a line without a colon": (b"GET / HTTP/1.1\r\nbad header\r\n\r\n", 400, "invalid_request"),
    "a length of letters": (b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400, "invalid_request"),
    "two ways to end the body": (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
        "invalid_request",
    ),
    "a chunk of letters": (
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        400,
        "invalid_request",
    ),
    "a long line": (b"GET /%s HTTP/1.1\r\n\r\n" % (b"a" * 5000), 414, "uri_too_long"),
    "a long header": (b"GET / HTTP/1.1\r\na: %s\r\n\r\n" % (b"a" * 9000), 431, "headers_too_large"),
    "many headers": (b"GET / HTTP/1.1\r\n%s\r\n" % (b"a: b\r\n" * 101), 431, "headers_too_large"),
}


@pytest.mark.parametrize("behind", [False, True], ids=["first", "behind another"])
@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_is_no_request_is_told_so(
    server: Server, client: socket.socket, answers: Answers, kind: str, behind: bool
) -> None:
    content, status, code = UNREADABLE[kind]
    method = "OTHER" if status == 400 else "GET"  # what is only too large is a request, and its connection serves on
    series = [
        f"api_errors_total{{endpoint=unmatched,error_type={code}}}",
        f"http_requests_total{{endpoint=unmatched,method={method},status={status}}}",
    ]
    before = metrics(server)
    client.sendall(READY + content if behind else content)
    if behind:
        assert answers.next()[0] == 200
    found, body = answers.next()
    assert found == status
    told = json.loads(body)
    assert (told["code"], told["field"]) == (code, None)
    assert told["error"]
    assert told["request_id"] == answers.headers["x-request-id"]
    if method == "OTHER":
        assert answers.rest() == b"", "the connection is closed"
    else:
        client.sendall(READY)
        assert answers.next()[0] == 200
    after = metrics(server)
    assert [after[name] - before.get(name, 0) for name in series] == [1, 1]
    assert '"ERROR"' not in server.log(), "it is the client's error, not ours"


def test_a_head_that_does_not_come_is_given_up(server: Server, client: socket.socket, answers: Answers) -> None:
    series = "api_errors_total{endpoint=unmatched,error_type=request_timeout}"
    before = metrics(server)[series]
    client.sendall(READY)
    assert answers.next()[0] == 200
    started = time.monotonic()
    stop = threading.Event()

    def trickle() -> None:
        client.sendall(b"GET /readyz HTTP/1.1\r\nX-Slow: ")
        while not stop.wait(0.1):
            try:
                client.sendall(b"a")
            except OSError:
                return

    trickling = threading.Thread(target=trickle)
    trickling.start()
    try:
        status, body = answers.next()
    finally:
        stop.set()
        trickling.join()
    assert (status, json.loads(body)["code"]) == (408, "request_timeout")
    assert HEAD_SECONDS * 0.9 < time.monotonic() - started < IDLE_SECONDS
    assert metrics(server)[series] == before + 1


def test_only_the_head_must_come_soon(client: socket.socket, answers: Answers, row: dict[str, float]) -> None:
    content = post(PREDICT, {"features": row})
    client.sendall(content[:10])
    time.sleep(0.1)
    client.sendall(content[10:-10])
    time.sleep(HEAD_SECONDS + 1)
    client.sendall(content[-10:])
    assert answers.next()[0] == 200
    assert answers.rest() == b"", "it ends in silence, with nothing begun"


def test_a_client_that_says_nothing_is_let_go(client: socket.socket) -> None:
    started = time.monotonic()
    assert client.recv(1) == b""
    assert time.monotonic() - started > HEAD_SECONDS * 0.9


def test_a_connection_may_rest_between_requests_but_not_for_ever(client: socket.socket, answers: Answers) -> None:
    started = time.monotonic()
    while time.monotonic() - started < IDLE_SECONDS:  # it may be as old as it likes
        client.sendall(READY)
        assert answers.next()[0] == 200
        time.sleep(IDLE_SECONDS / 3)
    rested = time.monotonic()
    assert answers.rest() == b""
    assert time.monotonic() - rested > IDLE_SECONDS / 2


def test_a_client_that_takes_no_answer_is_let_go(server: Server, client: socket.socket, row: dict[str, float]) -> None:
    content = post(f"{PREDICT}/batch", {"rows": [{"features": row}] * 500})
    client.settimeout(0.5)
    with contextlib.suppress(TimeoutError):  # all buffers in between are full
        while True:
            client.sendall(content)
    assert is_held(server, client)
    until(lambda: not is_held(server, client), "the server lets the connection go")


def is_held(server: Server, client: socket.socket) -> bool:
    """Whether a process still has the server's end of the connection."""
    ends = (f":{server.port:04X}", f":{client.getsockname()[1]:04X}")
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = [row[9] for row in rows if (row[1][8:], row[2][8:]) == ends]
    return any(inode != "0" for inode in inodes)


def test_a_client_that_takes_its_answers_slowly_gets_them(client: socket.socket, row: dict[str, float]) -> None:
    times = 20
    client.sendall(post(f"{PREDICT}/batch", {"rows": [{"features": row}] * 500}) * times)
    received = b""
    started = time.monotonic()
    while received.count(b"HTTP/1.1 200 OK") < times or not received.endswith(b"}"):
        time.sleep(0.05)
        some = client.recv(1 << 16)
        assert some, "cut off"
        received += some
    assert time.monotonic() - started > IDLE_SECONDS
