"""The real server against clients that mean harm: too much, too deep, too slow, too many; time and memory bounded."""

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.load import PREDICT, Load, under_load
from support.packages import release_package
from support.server import Server, serving
from support.service import samples
from support.waiting import until

from beacon_core.domain.product import Product

BODY_SECONDS = 1.0
MEBI = 1 << 20
pytestmark = [pytest.mark.xdist_group("inference-hostile"), pytest.mark.slow]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, product: Product) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("hostile")
    release_package(home, product)
    with serving(home, access_log="false", body_timeout_seconds=BODY_SECONDS) as running:
        yield running


def head(length: int | None, *more: str, kind: str = "application/json") -> bytes:
    """The head of a POST to /v1/predict; without a length the body comes in chunks."""
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    lines = [f"POST {PREDICT} HTTP/1.1", "Host: x", f"Content-Type: {kind}", framing, *more]
    return "\r\n".join([*lines, "", ""]).encode()


def chunked(body: bytes) -> bytes:
    parts = [body[at : at + 65536] for at in range(0, len(body), 65536)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def whole(body: bytes, *more: str, kind: str = "application/json") -> bytes:
    return head(len(body), *more, kind=kind) + body


def connect(server: Server, seconds: float = 30.0) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=seconds)


def answer(client: socket.socket) -> tuple[int, bytes]:
    """Status and body of one answer, read to its length."""
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = client.recv(65536)
        assert chunk, f"closed without an answer: {received!r}"
        received += chunk
    lines, _, body = received.partition(b"\r\n\r\n")
    (length,) = [
        int(line.split(b":")[1]) for line in lines.split(b"\r\n") if line.lower().startswith(b"content-length")
    ]
    while len(body) < length:
        body += client.recv(65536)
    return int(lines.split(b" ")[1]), body


def send(server: Server, content: bytes) -> tuple[int, float]:
    """Status of one request on a connection of its own, and the seconds it took."""
    with connect(server) as client:
        started = time.perf_counter()
        with contextlib.suppress(ConnectionError):  # it may refuse before it has read all
            client.sendall(content)
        status, body = answer(client)
        assert json.loads(body)["code"]
        return status, time.perf_counter() - started


LARGE = b" " * (10 * MEBI)
TOO_MUCH = {
    "10 MB with its length": (whole(LARGE), 413),
    "a gzip header": (whole(b"\x1f\x8b\x08" + b"\0" * 1000, "Content-Encoding: gzip"), 415),
    "another type": (whole(b"{}", kind="text/plain"), 415),
    "100,000 deep": (whole(b"[" * 100_000 + b"]" * 100_000), 400),
    "100,000 objects deep": (whole(b'{"a":' * 100_000 + b"1" + b"}" * 100_000), 400),
    "a number of 5,000 digits": (whole(b'{"features":{"RM":%s}}' % (b"9" * 5000)), 400),
    "no UTF-8": (whole(b'{"features":{"\xff\xfe":1}}'), 400),
    "nothing": (whole(b""), 400),
    "10,001 rows": (
        whole(b'{"rows":[%s]}' % b",".join([b"{}"] * 10_001)).replace(b"predict", b"predict/batch", 1),
        422,
    ),
    "no rows": (whole(b'{"rows":[]}').replace(b"predict", b"predict/batch", 1), 400),
}


# As large as a body may be, and full of values: parsed, each would take a hundred megabytes.
MANY_VALUES = {
    "660,000 rows": (
        whole(b'{"rows":[%s]}' % b",".join([b"{}"] * 660_000)).replace(b"predict", b"predict/batch", 1),
        413,
    ),
    "660,000 lists": (whole(b'{"features":[%s]}' % b",".join([b"[]"] * 660_000)), 413),
    "180,000 features": (whole(b'{"features":{%s}}' % b",".join(b'"%d":1' % n for n in range(180_000))), 413),
}


def memory(server: Server, name: str) -> int:
    """VmRSS (now) or VmHWM (its peak) of the worker, in bytes."""
    text = (worker(server) / "status").read_text()
    (found,) = [line.split()[1] for line in text.splitlines() if line.startswith(f"{name}:")]
    return int(found) * 1024


def worker(server: Server) -> Path:
    master = server.process.pid
    (pid,) = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    return Path(f"/proc/{pid}")


def test_too_much_is_refused_at_once_and_the_memory_comes_back(server: Server, row: dict[str, float]) -> None:
    for _ in range(50):
        assert httpx.post(f"{server.address}{PREDICT}", json={"features": row}).status_code == 200
    before = memory(server, "VmRSS")
    (worker(server) / "clear_refs").write_text("5")  # the peak begins anew
    slowest = {}
    for name, (content, status) in TOO_MUCH.items():
        tries = [send(server, content) for _ in range(5)]
        assert {found for found, _ in tries} == {status}, name
        slowest[name] = min(seconds for _, seconds in tries)
        assert slowest[name] < 0.1, (name, tries)
    peak, after = memory(server, "VmHWM") - before, memory(server, "VmRSS") - before
    worst = max(slowest, key=lambda name: slowest[name])
    print(
        f"slowest: {worst}, {slowest[worst] * 1000:.0f} ms; peak +{peak / MEBI:.1f} MiB, after +{after / MEBI:.1f} MiB"
    )
    assert peak < 20 * MEBI
    assert after < 20 * MEBI
    assert httpx.post(f"{server.address}{PREDICT}", json={"features": row}).status_code == 200


@pytest.mark.parametrize("kind", MANY_VALUES)
def test_a_body_of_too_many_values_is_refused_before_it_is_parsed(server: Server, kind: str) -> None:
    content, status = MANY_VALUES[kind]
    send(server, whole(b" " * 1_999_000))  # the room that any body of this size takes
    before = memory(server, "VmRSS")
    (worker(server) / "clear_refs").write_text("5")
    assert send(server, content)[0] == status
    assert memory(server, "VmHWM") - before < 20 * MEBI


def test_ten_megabytes_in_chunks_are_refused_and_the_memory_is_bounded(server: Server, row: dict[str, float]) -> None:
    content = head(None) + chunked(LARGE)
    send(server, content)  # the first one brings the memory that any request of this size takes
    before = memory(server, "VmRSS")
    after = []
    for _ in range(150):
        assert send(server, content)[0] == 413
        after.append(memory(server, "VmRSS") - before)
    print(f"+{after[0] / MEBI:.1f} MiB after the first, +{after[-1] / MEBI:.1f} MiB after the last")
    assert max(after) < 20 * MEBI  # before: 0.4 MiB each, for some seconds
    assert httpx.post(f"{server.address}{PREDICT}", json={"features": row}).status_code == 200


@pytest.mark.parametrize("end", ["closed", "reset"])
def test_connections_that_end_leave_nothing(server: Server, row: dict[str, float], end: str) -> None:
    content = whole(json.dumps({"features": row}).encode())
    before = memory(server, "VmRSS")
    for _ in range(4000):
        with connect(server) as client:
            client.sendall(content)
            assert answer(client)[0] == 200
            if end == "reset":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    after = memory(server, "VmRSS") - before
    print(f"+{after / MEBI:.1f} MiB after 4,000 connections")
    assert after < 20 * MEBI  # before: 50


def test_a_body_in_tiny_pieces_holds_nobody_up(server: Server, row: dict[str, float]) -> None:
    status, seconds = send(server, head(None) + b"1\r\n \r\n" * 1_000_000)
    print(f"refused after {seconds:.2f} s")  # before: half a minute, and the arbiter killed the worker
    assert status in {400, 408}  # it is not too large: read, or given up by its time
    assert seconds < 3
    assert httpx.post(f"{server.address}{PREDICT}", json={"features": row}).status_code == 200


def test_a_body_in_a_few_small_pieces_is_taken(server: Server, row: dict[str, float]) -> None:
    body = json.dumps({"features": row}).encode()
    pieces = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    assert len(body) < 256
    with connect(server) as client:
        client.sendall(head(None) + pieces)
        assert answer(client)[0] == 200


TRICKLES = {
    "a byte at a time": (head(5000), b" "),
    "in chunks": (head(None), b"1\r\n \r\n"),
}


@pytest.mark.parametrize("kind", TRICKLES)
def test_a_body_that_does_not_come_is_given_up(server: Server, kind: str) -> None:
    first, rest = TRICKLES[kind]
    series = "api_errors_total{endpoint=/v1/predict,error_type=request_timeout}"
    before = metrics(server)[series]
    with connect(server) as client:
        started = time.monotonic()
        client.sendall(first + rest)
        client.settimeout(0.1)
        received = b""
        while b"request_timeout" not in received and time.monotonic() < started + 30:
            client.sendall(rest)
            with contextlib.suppress(TimeoutError):
                received += client.recv(65536)
        assert received.startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - started > BODY_SECONDS * 0.9
        client.settimeout(30)
        with contextlib.suppress(ConnectionError):
            assert client.recv(65536) == b"", "the connection is closed"
    found = metrics(server)
    assert found[series] == before + 1
    assert found["http_requests_total{endpoint=/v1/predict,method=POST,status=408}"] >= 1


def metrics(server: Server) -> dict[str, float]:
    return samples(httpx.get(f"http://127.0.0.1:{server.metrics_port}/metrics").text)


def test_a_body_that_comes_in_two_pieces_in_time_is_taken(server: Server, row: dict[str, float]) -> None:
    body = json.dumps({"features": row}).encode()
    with connect(server) as client:
        for _ in range(5):  # and the connection serves on: the time of each begins anew
            client.sendall(head(len(body)) + body[:20])
            time.sleep(BODY_SECONDS / 4)
            client.sendall(body[20:])
            assert answer(client)[0] == 200


def test_silent_clients_cost_the_others_nothing(server: Server, row: dict[str, float]) -> None:
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(connect(server)) for _ in range(500)]
        for client in silent[:250]:
            client.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        # What the machine's others do comes and goes; what these clients cost comes every time.
        assert any(served(server, row).p99 < 0.2 for _ in range(5))
        assert httpx.get(f"{server.address}/readyz", timeout=30).status_code == 200


def served(server: Server, row: dict[str, float]) -> Load:
    """A client that was answered a hundred times, and always well."""
    with under_load(server.address, row, 1) as loads:
        loads.wait_for(100)
    assert (loads.total("failed"), loads.total("broken")) == (0, 0)
    return loads[0]


def test_a_client_that_never_reads_its_answers_costs_the_others_nothing(server: Server, row: dict[str, float]) -> None:
    body = json.dumps({"rows": [{"features": row}] * 1000}).encode()
    content = whole(body).replace(b"predict", b"predict/batch", 1)
    deaf = [connect(server) for _ in range(5)]
    stop = threading.Event()

    def ask(client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while not stop.is_set():
                client.sendall(content)

    threads = [threading.Thread(target=ask, args=(client,)) for client in deaf]
    for client in deaf:
        client.settimeout(0.5)
    for thread in threads:
        thread.start()
    try:
        until(lambda: not any(thread.is_alive() for thread in threads), "their buffers are full")
        served(server, row)
    finally:
        stop.set()
        for client, thread in zip(deaf, threads, strict=True):
            thread.join()
            client.close()
