"""A bucket of a real S3 server on loopback, and the environment that leads every client there."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import Request, urlopen

import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

Wsgi = Callable[[dict[str, Any], Any], Any]
WRITES = frozenset({"PUT", "POST", "DELETE"})


@contextmanager
def s3_server(host: str = "127.0.0.1", before: Callable[[Wsgi], Wsgi] = lambda app: app) -> Iterator[str]:
    """A server without buckets; its address. `before` is what requests pass through first."""
    app = DomainDispatcherApplication(create_backend_app)
    writing = threading.Lock()

    def one_write_at_a_time(environ: dict[str, Any], start: Any) -> Any:
        # As S3 does it: whether a condition holds, and the write, are one step.
        if environ["REQUEST_METHOD"] in WRITES:
            with writing:
                return app(environ, start)
        return app(environ, start)

    server = make_server(host, 0, before(one_write_at_a_time), threaded=True, request_handler=MotoRequestHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def s3_bucket(name: str, before: Callable[[Wsgi], Wsgi] = lambda app: app) -> Iterator[str]:
    """An empty bucket; its address."""
    with s3_server(before=before) as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", address)
        patch.setenv("AWS_ACCESS_KEY_ID", "one")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "two")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        urlopen(Request(f"{address}/moto-api/reset", method="POST"), timeout=60).close()
        urlopen(Request(f"{address}/{name}", method="PUT"), timeout=60).close()
        yield f"s3://{name}"
