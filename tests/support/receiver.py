"""What is on the other end of a page: a receiver that keeps every notification with its time."""

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self


class Notice(NamedTuple):
    """One notification as it came: on the wall clock, to which path, what it said."""

    at: float
    path: str
    payload: dict[str, Any]
    authorization: str

    @property
    def alert(self) -> str:
        """The alerts' common name; empty for what is no webhook of Alertmanager."""
        name: str = self.payload.get("groupLabels", {}).get("alertname", "")
        return name

    @property
    def namespace(self) -> str:
        """The alerts' common namespace; empty as above."""
        namespace: str = self.payload.get("groupLabels", {}).get("namespace", "")
        return namespace

    @property
    def status(self) -> str:
        """Firing or resolved."""
        status: str = self.payload.get("status", "")
        return status


class Receiver:
    """Listens on `host` until left."""

    def __init__(self, host: str, port: int = 0) -> None:
        self.notices: list[Notice] = []
        self._changed = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                notice = Notice(time.time(), self.path, json.loads(body), self.headers["Authorization"] or "")
                with receiver._changed:
                    receiver.notices.append(notice)
                    receiver._changed.notify_all()
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer((host, port), Handler)
        self.address = f"http://{host}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def first(self, wanted: Callable[[Notice], bool], since: float, seconds: float) -> Notice | None:
        """The first notice since then that is wanted, waiting for it until `seconds` have passed since then."""
        with self._changed:
            while True:
                found = [notice for notice in self.notices if notice.at >= since and wanted(notice)]
                if found:
                    return found[0]
                left = since + seconds - time.time()
                if left <= 0:
                    return None
                self._changed.wait(left)

    def pages(self, since: float, path: str = "/page") -> list[Notice]:
        """What came to a path since then."""
        with self._changed:
            return [notice for notice in self.notices if notice.at >= since and notice.path == path]
