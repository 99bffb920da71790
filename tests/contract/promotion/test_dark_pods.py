"""Dark pods, made and asked about by the official client on an API over a real socket."""

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from kubernetes.client import Configuration

from beacon_core.domain.pins import Pin
from beacon_core.platform.kubernetes import Access
from beacon_promotion.targets.base.target import ReleaseFailedError
from beacon_promotion.targets.kubernetes import pods

NEW = Pin("boston-housing", "2", "b" * 64)


class Api(BaseHTTPRequestHandler):
    """The API of a cluster whose one dark pod runs, is not ready, and has the log; None: its container waits."""

    log: str | None
    asked: list[str]

    def _answer(self) -> None:
        path, _, query = self.path.partition("?")
        self.asked.append(path)
        name = path.split("/")[6] if path.count("/") > 5 else ""
        found: Any = {"metadata": {"name": name}, "status": {"phase": "Running", "containerStatuses": []}}
        if not name and query:
            found = {"items": []}
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer = (
            ("the container waits" if self.log is None else self.log) if path.endswith("/log") else json.dumps(found)
        )
        self.send_response(400 if path.endswith("/log") and self.log is None else 200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer.encode())

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def cluster_with(log: str | None) -> Iterator[tuple[pods.Pods, list[str]]]:
    """The pods of that cluster, and the paths that were asked for."""
    asked: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Answers", (Api,), {"log": log, "asked": asked}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    configuration = Configuration(f"http://127.0.0.1:{server.server_port}")
    configuration.retries, configuration.proxy = False, None
    try:
        yield pods.Pods(Access(configuration, "beacon")), asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


DARK_0 = "beacon-inference-dark-0"
OOM = '{"message": "Worker (pid:7) was sent SIGKILL! Perhaps out of memory?"}\n'
TEMPLATE = {"metadata": {}, "spec": {"containers": []}}


def test_a_dark_pod_whose_worker_is_killed_is_named_while_its_container_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pods, "READY_SECONDS", 0.2)
    with cluster_with(OOM) as (target, asked):
        with (
            pytest.raises(ReleaseFailedError, match="takes more memory than its limit") as refused,
            target.dark([NEW], TEMPLATE),
        ):
            pass
        assert refused.value.reason == "memory"
        died = target.death(DARK_0)
        assert died is not None
        assert died.reason == "memory"
        # Of the pods that answer users it reads no log.
        assert target.death("beacon-inference-7d4-x2x") is None
    assert {path for path in asked if path.endswith("/log")} == {f"/api/v1/namespaces/beacon/pods/{DARK_0}/log"}


@pytest.mark.parametrize("log", ["", '{"message": "booting"}', None])
def test_a_dark_pod_without_such_a_word_goes_on(log: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pods, "READY_SECONDS", 0.2)
    with cluster_with(log) as (target, _):
        with pytest.raises(ReleaseFailedError) as refused, target.dark([NEW], TEMPLATE):
            pass
        assert refused.value.reason == "not_ready"
        assert target.death(DARK_0) is None
