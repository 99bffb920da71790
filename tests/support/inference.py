"""Inference as it runs for real: `python -m beacon_inference` in its own environment, on free ports."""

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

from support.features import Process
from support.log_process import LogProcess
from support.ports import free_port
from support.products import SPEC

from beacon_core.platform.settings import ROOT

PYTHON = ROOT / ".venvs" / "inference" / "bin" / "python"


class Reply(NamedTuple):
    """What came back over the socket; names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


class Inference(Process):
    """A server that answers at `url`, with the log's process beside it; `home` has a released package."""

    def __init__(self, home: Path, folder: Path, **environment: str) -> None:
        port, self.metrics_port = free_port(), free_port()
        self.host = f"127.0.0.1:{port}"
        self.url = f"http://{self.host}"
        given = {
            "BEACON_HOME": str(home),
            "BEACON_INFERENCE_PORT": str(port),
            "BEACON_INFERENCE_METRICS_PORT": str(self.metrics_port),
        }
        own = {"BEACON_PRODUCT": str(SPEC)} | given | environment
        self._log_process = LogProcess(folder, own)
        self._log_process.start()
        super().__init__([str(PYTHON), "-m", "beacon_inference"], folder, own)
        self.wait_until(lambda: self.ask("GET", "/readyz").status == 200, 60)

    def __exit__(self, *given: object) -> None:
        super().__exit__(*given)
        self._log_process.kill()

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Reply:
        """One request; an error's answer is an answer, too."""
        request = urllib.request.Request(self.url + path, body, headers or {}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return _reply(answer)
        except urllib.error.HTTPError as error:
            with error:
                return _reply(error)

    def post(self, path: str, body: Any, **headers: str) -> Reply:
        """POST `body` as JSON."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("POST", path, json.dumps(body).encode(), {"Content-Type": "application/json", **named})


def _reply(answer: Any) -> Reply:
    return Reply(answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read())
