"""Something else at MLflow's address: a proxy's page, a login, another API. It is told; nothing is taken for missing.

A registry that seems empty would be worse than one that is away: the first model there is goes into service unasked.
"""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from beacon_core.domain.pins import Pin
from beacon_core.model_package.download import CHAMPION, download_package
from beacon_core.model_package.signature import DIGEST_ALONE
from beacon_core.platform.mlflow import Mlflow, RegistryUnavailableError

NAME = "boston-housing"
ANSWERS = {
    "a proxy's page that nothing is there": (404, "text/html", b"<h1>404 page not found</h1>"),
    "404 without a word": (404, "text/plain", b""),
    "another API's 404": (404, "application/json", b'{"detail": "Not Found"}'),
    "a 404 of another code": (404, "application/json", b'{"error_code": "ENDPOINT_NOT_FOUND"}'),
    "a 404 of JSON that is no object": (404, "application/json", b"[]"),
    "400 of a proxy": (400, "text/html", b"The plain HTTP request was sent to HTTPS port"),
    "a login": (403, "text/html", b"<form>"),
    "a page": (200, "text/html", b"<html>Welcome</html>"),
    "nothing": (200, "application/json", b""),
    "a list": (200, "application/json", b"[]"),
    "another API": (200, "application/json", b'{"status": "ok"}'),
    "half an answer": (200, "application/json", b'{"model_version": {"version": "1", "tags": [{'),
    "a failure": (502, "text/html", b"Bad Gateway"),
}
QUESTIONS: dict[str, Callable[[Mlflow], object]] = {
    "a version": lambda mlflow: mlflow.version(NAME, "1"),
    "an alias": lambda mlflow: mlflow.version_at(NAME, CHAMPION),
    "a run": lambda mlflow: mlflow.has_run("0" * 32),
    "the champion": lambda mlflow: mlflow.version_at(NAME, CHAMPION),
}


@pytest.fixture(params=ANSWERS)
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server that gives one answer to all."""
    status, kind, body = ANSWERS[request.param]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


TOLD = "^MLflow at %s (answers with status|does not answer as MLflow's API does)"


def test_it_is_told_and_nothing_is_taken_for_missing(address: str, tmp_path: Path) -> None:
    for question in QUESTIONS.values():
        with pytest.raises(RegistryUnavailableError, match=TOLD % address):
            question(Mlflow(address))
    with pytest.raises(RegistryUnavailableError):
        download_package(address, Pin(NAME, "1", "0" * 64), tmp_path, DIGEST_ALONE)
    assert list(tmp_path.iterdir()) == []
