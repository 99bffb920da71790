"""The laptop's MLflow server as a process of the tests: a real one, SQLite behind it, serving the artifacts."""

import contextlib
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from support.ports import free_port


@contextlib.contextmanager
def mlflow_server(home: Path) -> Iterator[str]:
    """Its address, for the length of the block; its state lies in `home`."""
    port = free_port()
    environment = {"BEACON_HOME": str(home), "BEACON_MLFLOW_PORT": str(port)}
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "beacon_laptop.mlflow_server"], stdout=log, stderr=log, env=os.environ | environment
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 240
        while not _answers(f"{url}/health"):
            assert server.poll() is None, (home / "log").read_text()
            assert time.monotonic() < deadline, (home / "log").read_text()
            time.sleep(0.2)
        yield url
    finally:
        server.terminate()
        server.wait(60)


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=10).close()
    except OSError:
        return False
    return True
