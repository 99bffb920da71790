"""The bench's hostile sockets: Beacon answers all of them rightly, and a careless server is found out."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from harness.hostile import AMBIGUOUS, good_forms, try_sockets
from support.server import INFERENCE, serving

BODY = b'{"any":1}'


class Careless(BaseHTTPRequestHandler):
    """Says yes to all that Python's own parser lets through, and reads bodies by length alone."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:  # Python's server calls it by this name
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET  # noqa: N815 - and so this one

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def careless() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Careless) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_beacon_answers_all_rightly(home: Path, row: dict[str, float]) -> None:
    with serving(home, INFERENCE) as server:
        found = try_sockets(server.port, "/v1/predict", json.dumps({"features": row}).encode())
    assert found.wrong == ()
    assert (found.ambiguous, found.good) == (len(AMBIGUOUS), 2 * len(good_forms("/", b"{}")))


def test_a_careless_server_is_found_out(careless: int) -> None:
    wrong = try_sockets(careless, "/v1/predict", BODY).wrong
    assert {"two lengths that differ", "length and chunks", "signed length", "no host", "two hosts"} <= set(wrong)
    assert "headers without end" not in wrong, "Python refuses these"
    assert "HTTP/1.0" not in wrong
