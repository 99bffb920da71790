"""The API of a cluster, spoken to over a real socket."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from beacon_core.platform.kubernetes import CONFLICT, NOT_FOUND, Access, ClusterError, pod_access


class Api(BaseHTTPRequestHandler):
    """Answers every request with what it was asked, but for two paths."""

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        status, answer = 200, json.dumps({"asked": self.path, "type": self.headers["Content-Type"], "by": self.command})
        if self.path == "/taken":
            status, answer = CONFLICT, json.dumps({"message": "it is there already", "body": body.decode()})
        if self.path == "/broken":
            answer = "no JSON"
        if self.path == "/gone?tailLines=5":
            status, answer = NOT_FOUND, "no JSON"
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer.encode())

    do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def access() -> Iterator[Access]:
    server = HTTPServer(("127.0.0.1", 0), Api)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Access("127.0.0.1", server.server_port, "beacon", None)
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_query_is_encoded_and_a_patch_merges(access: Access) -> None:
    asked = access.ask("GET", "/api/v1/pods", labelSelector="a=b,c in (d)")
    assert asked == {
        "asked": "/api/v1/pods?labelSelector=a%3Db%2Cc+in+%28d%29",
        "type": "application/json",
        "by": "GET",
    }
    assert access.ask("PATCH", "/x", {"a": 1})["type"] == "application/merge-patch+json"


def test_a_refusal_says_what_the_api_said(access: Access) -> None:
    with pytest.raises(ClusterError, match="POST /taken: 409 it is there already") as refused:
        access.ask("POST", "/taken", {})
    assert refused.value.status == CONFLICT


def test_no_answer_and_no_json_are_told(access: Access) -> None:
    with pytest.raises(ClusterError, match="JSONDecodeError") as broken:
        access.ask("GET", "/broken")
    assert broken.value.status is None
    with pytest.raises(ClusterError, match="ConnectionRefused"):
        Access("127.0.0.1", 1, "beacon", None).ask("GET", "/x")


def test_a_log_is_text(access: Access) -> None:
    assert access.text("/broken") == "no JSON"
    with pytest.raises(ClusterError, match="GET /gone: 404 no JSON") as refused:
        access.text("/gone", tailLines="5")
    assert refused.value.status == NOT_FOUND


def test_only_a_pod_has_access(tmp_path: Path) -> None:
    environment = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "6443"}
    assert pod_access({}, tmp_path) is None
    assert pod_access(environment, tmp_path) is None
    (tmp_path / "token").write_text("t\n")
    (tmp_path / "namespace").write_text("beacon\n")
    assert pod_access(environment, tmp_path) == Access("10.0.0.1", 6443, "beacon", tmp_path)
