"""The metrics port: /metrics for Prometheus, /livez and /readyz for the kubelet and `make run`."""

import socket
import threading
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry, MetricsHandler

SLOW_SECONDS = 10.0
"""How long a client may take for its request."""


class MetricsPort:
    """Serves the metrics of a registry, and whether the process is alive and ready."""

    def __init__(
        self, host: str, port: int, registry: CollectorRegistry, checks: dict[str, Callable[[], bool]]
    ) -> None:
        base: Any = MetricsHandler.factory(registry)

        def answer(self: Any) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                base.do_GET(self)
                return
            check = checks.get(path)
            status, body = (404, b"this port has /metrics\n") if check is None else _told(check())
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        handler = type("Handler", (base,), {"do_GET": answer, "timeout": SLOW_SECONDS})
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        server = type("Server", (ThreadingHTTPServer,), {"daemon_threads": True, "address_family": family})
        self._server: ThreadingHTTPServer = server((host, port), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)

    def start(self) -> None:
        """Serve from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Close the port."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()


def _told(holds: bool) -> tuple[int, bytes]:
    return (200, b"yes\n") if holds else (503, b"no\n")
