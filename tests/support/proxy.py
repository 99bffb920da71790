"""A reverse proxy on loopback that shows a server below a path, as an ingress does."""

import contextlib
import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@contextlib.contextmanager
def below(path: str, address: str, *, strip: bool, tell: bool) -> Iterator[str]:
    """Show the server at `address` below `path`, which is taken off, and told in X-Forwarded-Prefix, or not."""
    server = urlsplit(address).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            if not (self.path + "/").startswith(path + "/"):
                self.send_error(404, "not mine")
                return
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            if tell:
                headers["X-Forwarded-Prefix"] = path
            asked = self.path.removeprefix(path) or "/" if strip else self.path
            connection = http.client.HTTPConnection(server, timeout=60)
            connection.request(self.command, asked if asked.startswith("/") else f"/{asked}", body, headers)
            answer = connection.getresponse()
            content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in {"connection", "content-length", "transfer-encoding", "date", "server"}:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            connection.close()

        do_GET = do_HEAD = do_POST = do_OPTIONS = forward  # noqa: N815 - the base class's names

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{proxy.server_port}{path}"
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()
