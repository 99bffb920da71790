"""The address that a server listens on: IPv6 as well, and an error that names the setting."""

import os
import subprocess
from pathlib import Path

import pytest
from support.packages import release_package
from support.server import INFERENCE, serving
from support.wire import wired

from beacon_core.domain.product import Product
from beacon_core.platform.settings import ROOT

READY = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
PYTHON = ROOT / ".venvs" / "inference" / "bin" / "python"


@pytest.mark.parametrize("host", ["::", "[::]"])
def test_a_server_listens_on_every_address_of_both_kinds(tmp_path: Path, product: Product, host: str) -> None:
    release_package(tmp_path, product)
    with serving(tmp_path, INFERENCE, host=host) as server:
        for address in ("127.0.0.1", "::1"):
            for port in (server.port, server.metrics_port):
                with wired(port, address) as wire:
                    wire.send(READY)
                    assert wire.reply().status == 200


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "no-such-host.invalid", "::1::", "localhost:80"])
def test_a_host_that_cannot_be_listened_on_is_named(tmp_path: Path, host: str) -> None:
    environment = {"PATH": os.environ["PATH"], "BEACON_HOME": str(tmp_path), "BEACON_HOST": host}
    command = [PYTHON, "-m", "beacon_inference"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "BEACON_HOST: " in line
