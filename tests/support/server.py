"""The real servers on free loopback ports, each from its own environment."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from support.log_process import LogProcess
from support.ports import free_ports
from support.products import SPEC

from beacon_core.platform.settings import ROOT


class Program(NamedTuple):
    """A service: its module, its environment, and how the settings name its ports."""

    module: str
    environment: str
    ports: str


INFERENCE = Program("beacon_inference", "inference", "INFERENCE")
CONSOLE = Program("beacon_console", "console", "CONSOLE")
FEATURES = Program("beacon_feature_serving", "feature-serving", "FEATURES")


class Server:
    """`python -m MODULE` of a service. A killed one is started again on the same ports and home.

    Inference has the prediction log's process beside it: `log_process`, which is None where nobody ships.
    """

    def __init__(
        self,
        home: Path,
        program: Program,
        environment: Mapping[str, str] | None = None,
        *,
        ships: bool = True,
        **settings: Any,
    ) -> None:
        self.home = home
        self._program = program
        self._log_file = home / f"{program.module}.log"
        self.port, self.metrics_port = free_ports(2)
        self.address = f"http://127.0.0.1:{self.port}"
        ports = {f"{program.ports}_PORT": self.port, f"{program.ports}_METRICS_PORT": self.metrics_port}
        named = {"HOME": home, "PRODUCT": SPEC} | ports | {name.upper(): value for name, value in settings.items()}
        self._environment = {f"BEACON_{name}": str(value) for name, value in named.items()}
        self._environment |= {"PATH": os.environ["PATH"]}
        self._environment |= environment or {}
        self._process: subprocess.Popen[bytes] | None = None
        self.log_process = LogProcess(home, self._environment) if program == INFERENCE and ships else None

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The master of the service."""
        assert self._process is not None, "it was never started"
        return self._process

    def start(self) -> float:
        """Start and wait until it is ready; seconds it took."""
        started = time.monotonic()
        if self.log_process is not None and not self.log_process.is_running:
            self.log_process.start()
        self._log = self._log_file.open("ab")
        self._process = subprocess.Popen(
            [ROOT / ".venvs" / self._program.environment / "bin" / "python", "-m", self._program.module],
            env=self._environment,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        while time.monotonic() < started + 90:
            assert self.process.poll() is None, self.log()
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.address}/readyz", timeout=10).status_code == 200:
                    return time.monotonic() - started
            time.sleep(0.05)
        raise AssertionError(self.log())

    def kill(self) -> None:
        """Kill -9 the whole process group, the worker too, and wait for the port to be free; the log's process, too."""
        self.kill_alone()
        if self.log_process is not None:
            self.log_process.kill()

    def kill_alone(self) -> None:
        """The same, but leave the log's process at work."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)
        self._log.close()

    def end(self) -> None:
        """Leave nothing running."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        elif self.log_process is not None:
            self.log_process.kill()

    def stop(self) -> int:
        """SIGTERM, and then to the log's process, which ships the rest; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self._log.close()
        if self.log_process is not None:
            assert self.log_process.stop() == 0, self.log_process.log()
        return code

    def log(self) -> str:
        """What it wrote."""
        return self._log_file.read_text(encoding="utf-8", errors="replace")[-4000:]


@contextlib.contextmanager
def serving(home: Path, program: Program = INFERENCE, **settings: Any) -> Iterator[Server]:
    """A server that is ready, and gone afterwards whatever happens."""
    server = Server(home, program, **settings)
    try:
        server.start()
        yield server
    finally:
        server.end()
