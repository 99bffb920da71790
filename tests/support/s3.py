"""A bucket of a real S3 server on loopback, and the environment that leads every client there."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import Request, urlopen

import pytest
from moto.server import ThreadedMotoServer


@contextmanager
def s3_bucket(name: str) -> Iterator[str]:
    """An empty bucket; its address."""
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            address = f"http://127.0.0.1:{server.get_host_and_port()[1]}"
            patch.setenv("AWS_ENDPOINT_URL", address)
            patch.setenv("AWS_ACCESS_KEY_ID", "one")
            patch.setenv("AWS_SECRET_ACCESS_KEY", "two")
            patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
            urlopen(Request(f"{address}/{name}", method="PUT"), timeout=60).close()
            yield f"s3://{name}"
    finally:
        server.stop()
