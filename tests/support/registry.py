"""A registry of one package: answers as MLflow does to the three questions that Beacon asks."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from beacon_core.domain.pins import Pin

RUN = "0123456789abcdef0123456789abcdef"


class Registry:
    """Serves the package in `folder` at `address` until closed."""

    def __init__(self, folder: Path, pin: Pin) -> None:
        self.folder, self.pin, self.has_champion = folder, pin, True
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = registry.answer(self.path)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def answer(self, target: str) -> tuple[int, bytes]:
        parts = urlsplit(target)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        facts = {"version": self.pin.version, "run_id": RUN, "tags": [{"key": "sha256", "value": self.pin.sha256}]}
        known = json.dumps({"model_version": facts}).encode()
        if parts.path == "/api/2.0/mlflow/model-versions/get" and query["version"] == self.pin.version:
            return 200, known
        if parts.path == "/api/2.0/mlflow/registered-models/alias" and self.has_champion:
            return 200, known
        if parts.path == "/api/2.0/mlflow/registered-models/alias":
            return 400, b'{"error_code": "INVALID_PARAMETER_VALUE"}'
        file = self.folder / Path(query.get("path", "-")).name
        if parts.path == "/get-artifact" and query["run_uuid"] == RUN and file.is_file():
            return 200, file.read_bytes()
        return 404, b'{"error_code": "RESOURCE_DOES_NOT_EXIST"}'

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
