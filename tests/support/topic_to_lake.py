"""The consumer of the log's topic as it runs for real: Spark Structured Streaming in the environment of its room."""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
from support.ports import free_port
from support.service import samples

from beacon_core.platform.settings import ROOT

PYTHON = ROOT / ".venvs" / "spark" / "bin" / "python"
END_SECONDS = 300


class TopicToLake:
    """The program on a home; its settings are those of the log's process that name topic and lake."""

    def __init__(self, home: Path, **settings: object) -> None:
        self._file = home / "kafka-to-lake.log"
        self.metrics_port = free_port()
        settings["kafka_to_lake_metrics_port"] = self.metrics_port
        given = {f"BEACON_{name.upper()}": str(value) for name, value in settings.items()}
        self._variables = {"PATH": os.environ["PATH"], "HOME": str(home), "BEACON_HOME": str(home)} | given
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        """Start it; it takes seconds until it reads."""
        with self._file.open("ab") as output:
            self.process = subprocess.Popen(
                [PYTHON, "-m", "beacon_spark.commands.kafka_to_lake", *options],
                env=self._variables,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def stop(self) -> int:
        """Ask it to end; its exit status."""
        assert self.process is not None, "it was never started"
        self.process.terminate()
        return self.wait()

    def asked(self, path: str) -> int:
        """The status of an answer of its metrics port; 0: nobody listens."""
        try:
            return httpx.get(f"http://127.0.0.1:{self.metrics_port}{path}", timeout=10).status_code
        except httpx.ConnectError:
            return 0

    def metrics(self) -> dict[str, float]:
        """What its metrics port shows."""
        return samples(httpx.get(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10).text)

    def kill(self) -> None:
        """Kill -9 the program that commits; Spark's Java ends with it."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)

    def wait(self) -> int:
        """Its exit status, once it ends."""
        assert self.process is not None, "it was never started"
        return self.process.wait(END_SECONDS)

    def once(self, *options: str) -> int:
        """Bring what is there, and end."""
        self.start("--once", *options)
        return self.wait()

    def log(self) -> str:
        """What it wrote."""
        return self._file.read_text(encoding="utf-8", errors="replace")[-6000:]

    def wait_for(self, words: str, seconds: float = END_SECONDS) -> None:
        """Until it has written these words."""
        end = time.monotonic() + seconds
        while words not in self._file.read_text(encoding="utf-8", errors="replace"):
            assert time.monotonic() < end, self.log()
            assert self.process is None or self.process.poll() is None, self.log()
            time.sleep(0.1)


@contextlib.contextmanager
def topic_to_lake(home: Path, **settings: object) -> Iterator[TopicToLake]:
    """A consumer that is not running yet, and gone afterwards whatever happens."""
    found = TopicToLake(home, **settings)
    try:
        yield found
    finally:
        found.kill()
