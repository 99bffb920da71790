"""The prediction log's process as it runs for real: `python -m beacon_prediction_log` in its own environment."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import httpx
from support.ports import free_port
from support.service import samples

from beacon_core.platform.settings import ROOT

PYTHON = ROOT / ".venvs" / "prediction-log" / "bin" / "python"
OWN = ("BEACON_HOME", "BEACON_PRODUCT", "BEACON_SPOOL", "BEACON_SPOOL_MAX_BYTES", "BEACON_DATABASE_URL", "PATH")
"""What it is told of the variables of inference."""
LOG = (
    *("BEACON_LOG_STORES", "BEACON_LOG_READ", "BEACON_LAKE", "BEACON_LAKE_CATALOG_URL"),
    *("BEACON_KAFKA_BROKERS", "BEACON_KAFKA_TOPIC", "BEACON_KAFKA_FILE"),
)
S3 = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION")
READY_SECONDS = 90


class LogProcess:
    """The process on the spool that the variables name. A killed one is started again on the same port."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        self.metrics_port = free_port()
        self._log_file = folder / "beacon_prediction_log.log"
        given = {name: variables[name] for name in (*OWN, *LOG, *S3) if name in variables}
        self._variables = {"PATH": os.environ["PATH"], **given}
        self._variables["BEACON_PREDICTION_LOG_METRICS_PORT"] = str(self.metrics_port)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and wait until it is ready."""
        deadline = time.monotonic() + READY_SECONDS
        with self._log_file.open("ab") as output:
            self.process = subprocess.Popen(
                [PYTHON, "-m", "beacon_prediction_log"],
                env=self._variables,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log()
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"http://127.0.0.1:{self.metrics_port}/readyz", timeout=10).status_code == 200:
                    return
            time.sleep(0.02)
        raise AssertionError(self.log())

    def metrics(self) -> dict[str, float]:
        """What its metrics port shows."""
        return samples(httpx.get(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10).text)

    @property
    def is_running(self) -> bool:
        """Whether it was started, and lives."""
        return self.process is not None and self.process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it, if it lives."""
        if self.process is not None and self.is_running:
            self.process.send_signal(number)

    def kill(self) -> None:
        """Kill -9."""
        self.send(signal.SIGKILL)
        if self.process is not None:
            self.process.wait(30)

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        assert self.process is not None, "it was never started"
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        return self.process.wait(60)

    def log(self) -> str:
        """What it wrote."""
        return self._log_file.read_text(encoding="utf-8", errors="replace")[-4000:]
