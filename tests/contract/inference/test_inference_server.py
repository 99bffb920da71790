"""The real server, from its own environment: ports, draining, kill -9 under load, slow clients, odd bytes."""

import contextlib
import os
import socket
import threading
import time

import httpx
import pytest
from support.load import under_load
from support.logged import logged_ids
from support.packages import release_package
from support.server import serving
from support.service import samples

PREDICT = "/v1/predict"
KILLS = int(os.environ.get("BEACON_KILLS", "3"))
pytestmark = [pytest.mark.xdist_group("inference-server"), pytest.mark.slow]


@pytest.fixture
def server(home):
    with serving(home, access_log="false") as running:
        yield running


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory, product):
    """One server for the tests that neither end it nor count what it was asked."""
    home = tmp_path_factory.mktemp("shared")
    release_package(home, product)
    with serving(home, access_log="false") as running:
        yield running


def recorded(home):
    """Ids in the database."""
    return logged_ids(home / "beacon.db")


def test_it_serves_on_one_port_and_shows_its_metrics_on_the_other(server, row):
    with httpx.Client(base_url=server.address) as client:
        answer = client.post(PREDICT, json={"features": row})
        assert answer.status_code == 200
        assert client.get("/metrics").status_code == 404
        assert client.get("/openapi.json").json()["openapi"].startswith("3.")
    found = httpx.get(f"http://127.0.0.1:{server.metrics_port}/metrics")
    assert samples(found.text)["model_predictions_total{model_version=1}"] == 1
    for path in (PREDICT, "/docs", "/v1/predictions/x"):
        assert httpx.get(f"http://127.0.0.1:{server.metrics_port}{path}").status_code == 404


def test_sigterm_answers_what_is_under_way_and_ships_the_log(server, row, home):
    with under_load(server.address, row) as loads:
        loads.wait_for(20)
        assert server.stop() == 0
    assert loads.total("failed") == 0
    acknowledged = loads.acknowledged
    assert len(acknowledged) >= 40
    found = recorded(home)
    assert set(acknowledged) <= set(found)
    assert len(found) == len(set(found))


def test_kill_9_under_load_loses_no_acknowledged_record_and_doubles_none(server, row, home):
    with under_load(server.address, row) as loads:
        for number in range(KILLS):
            loads.wait_for(40 + 13 * (number % 5))
            server.kill()
            server.start()
        loads.wait_for(20)
    assert server.stop() == 0
    acknowledged, found = loads.acknowledged, recorded(home)
    print(f"kills {KILLS}, acknowledged {len(acknowledged)}, in the database {len(found)}")
    assert len(acknowledged) >= 40 * KILLS
    assert set(acknowledged) - set(found) == set(), "lost"
    assert len(acknowledged) == len(set(acknowledged))
    assert len(found) == len(set(found)), "doubled"


def raw(server, content, seconds=30.0):
    """Send bytes as they are; the answer as far as it came."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=seconds) as client:
        client.sendall(content)
        received = b""
        with contextlib.suppress(TimeoutError, ConnectionError):
            while chunk := client.recv(65536):
                received += chunk
                if b"\r\n\r\n" in received and b"onnection: close" not in content:
                    break
        return received


def test_clients_that_trickle_do_not_hold_up_the_others(shared_server, row):
    def p99():
        with under_load(shared_server.address, row, 1) as loads:
            loads.wait_for(200)
        assert (loads.total("failed"), loads.total("broken")) == (0, 0)
        return loads[0].p99

    def held_up():
        quiet = p99()
        with trickling(shared_server):
            busy = p99()
        print(f"p99 quiet {quiet * 1000:.1f} ms, with 200 slow clients {busy * 1000:.1f} ms")
        # The limit of the figure is twice; on a test machine that others share, 50 ms more may pass.
        return busy > 2 * quiet + 0.05

    # What the machine's others do comes and goes; what these clients do comes every time.
    assert not all(held_up() for _ in range(3))


@contextlib.contextmanager
def trickling(server):
    """200 clients that send a body a byte at a time."""
    head = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n"
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(("127.0.0.1", server.port))) for _ in range(200)]
        for client in slow:
            client.sendall(head)
        stop = threading.Event()

        def trickle():
            while not stop.is_set():
                for client in slow:
                    with contextlib.suppress(OSError):
                        client.sendall(b" ")
                time.sleep(0.1)

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


@pytest.mark.parametrize(
    "path", ["/%ff", "/%ed%a0%80", "/v1/predictions/%ff%00", "/v2/models/%2e%2e%2f/infer", "/v1/models/%00:predict"]
)
def test_odd_paths_are_404(shared_server, path):
    for method in ("GET", "POST"):
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        status = int(raw(shared_server, head.encode()).split(b" ")[1])
        assert 400 <= status < 500


def test_bytes_that_are_no_http_are_refused_and_the_server_goes_on(shared_server, row):
    smuggled = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n"
    odd = [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/9.9\r\n\r\n",
        smuggled + b"\r\n0\r\n\r\n",
        b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
        b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"".join(b"h%d: x\r\n" % n for n in range(10_000)) + b"\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nBig: " + b"x" * 65536 + b"\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
    ]
    for content in odd:
        answer = raw(shared_server, content, 2.0)
        assert answer == b"" or 400 <= int(answer.split(b" ")[1]) < 600, (content[:60], answer[:60])
        assert b"200 OK" not in answer
    assert httpx.post(f"{shared_server.address}{PREDICT}", json={"features": row}).status_code == 200


def test_an_oversized_body_is_refused_before_it_was_sent(shared_server, row):
    head = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n"
    answer = raw(shared_server, head)  # and no body, however long it waits
    assert b" 413 " in answer.split(b"\r\n")[0]
    assert httpx.post(f"{shared_server.address}{PREDICT}", json={"features": row}).status_code == 200
