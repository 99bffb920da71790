"""A stand-in for Kaggle's server: speaks what its client needs for a download, and misbehaves as it is told."""

import contextlib
import fcntl
import io
import json
import os
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple, Self

import pytest

CREDENTIALS = {"KAGGLE_USERNAME": "someone", "KAGGLE_KEY": "very-secret"}


class Answer(NamedTuple):
    """What a download is answered with; `send` is how many bytes of the body really go out."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = {}
    send: int | None = None
    delay_seconds: float = 0.0


class StandIn(ThreadingHTTPServer):
    """Gives its `answers` one after the other, the last one again and again, and remembers what it was asked."""

    daemon_threads = True

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__((host, port), Handler)
        self.answers = [Answer()]
        self.asked: list[str] = []
        self.authorization: str | None = None
        self.tokens: set[str] = set()
        self.introspected: list[str] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.shutdown()
        self.server_close()

    def environment(self, home: Path, credentials: dict[str, str] | None = None) -> dict[str, str]:
        """The environment of a process whose Kaggle client asks this server."""
        own = {"PATH": os.environ["PATH"], "HOME": str(home)}
        return own | (CREDENTIALS if credentials is None else credentials) | self.route("127.0.0.1")

    def route(self, direct: str) -> dict[str, str]:
        """What brings Kaggle's client here; it goes to `direct` without us.

        The client is pointed at http://localhost, port 80; this server is its proxy, so that no fixed port is needed.
        """
        host, port = self.server_address[:2]
        proxy = f"http://{host!s}:{port}"
        return {"KAGGLE_API_ENVIRONMENT": "LOCALHOST", "http_proxy": proxy, "no_proxy": direct}


@contextlib.contextmanager
def at_port_80() -> Iterator[StandIn]:
    """The stand-in where Kaggle's client itself looks for it, for a program that would not ask our proxy.

    One at a time on this machine; skips where the port is somebody else's or not ours to take.
    """
    with (Path(tempfile.gettempdir()) / "beacon-port-80.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            server = StandIn(port=80)
        except OSError as error:
            pytest.skip(f"port 80: {error.strerror}")
        with server:
            yield server


class Handler(BaseHTTPRequestHandler):
    server: StandIn

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        if "token" in asked:
            self._introspect(asked["token"])
            return
        server.asked.append(f"{self.path} {asked['ownerSlug']}/{asked['datasetSlug']}")
        server.authorization = self.headers["Authorization"]
        answer = server.answers[0] if len(server.answers) == 1 else server.answers.pop(0)
        time.sleep(answer.delay_seconds)
        self.send_response(answer.status)
        headers = {"Content-Type": "application/zip", "Content-Length": str(len(answer.body))}
        for name, value in (headers | answer.headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body[: answer.send])
        self.close_connection = True

    def _introspect(self, token: str) -> None:
        """Whose token it is, as the client asks before it sends one."""
        self.server.introspected.append(token)
        good = token in self.server.tokens
        body = json.dumps({"active": good, "username": "someone" if good else ""}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Quiet."""


def zipped(name: str, content: bytes, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of one file; equal content gives equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr(zipfile.ZipInfo(name), content, compression)
    return buffer.getvalue()


def spoilt(archive: bytes) -> bytes:
    """As long as it was, with one byte changed in the middle."""
    content = bytearray(archive)
    content[len(content) // 2] ^= 0xFF
    return bytes(content)
