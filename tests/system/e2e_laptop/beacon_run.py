"""A real `make run` on free ports, and what belongs to it: every process that carries its BEACON_HOME."""

import contextlib
import http.client
import json
import os
import shlex
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from support.ports import free_ports
from support.products import SPEC
from support.waiting import until

from beacon_core.platform.settings import PREFIX, ROOT, Settings, load_settings
from beacon_laptop.health import is_ready
from beacon_laptop.ports import PORTS
from beacon_laptop.processes import services

READY = "beacon is ready after"


def ports_of_a_run() -> dict[str, str]:
    """An environment variable with a free port for each port that a run needs."""
    return {f"{PREFIX}{name.upper()}": str(port) for name, port in zip(PORTS, free_ports(len(PORTS)), strict=True)}


class Run:
    """`make run` on the state folder `home`, in a process group of its own, as a terminal would have it."""

    def __init__(
        self,
        home: Path,
        ports: dict[str, str],
        checkout: Path = ROOT,
        product: Path = SPEC,
        more: Mapping[str, str] | None = None,
    ) -> None:
        self.home = home
        self.checkout = checkout
        self.ports = ports
        self.output = Path(tempfile.mkdtemp(dir=home.parent)) / "terminal.out"
        given = {name: value for name, value in os.environ.items() if not name.startswith((PREFIX, "MAKE"))}
        self.given = {**ports, f"{PREFIX}HOME": str(home), f"{PREFIX}PRODUCT": str(product), **(more or {})}
        self.environment = {**given, **self.given}
        with self.output.open("wb") as stream:
            self.make = subprocess.Popen(
                ["make", "run", "TRAIN=--repeats 1 --folds 3"],
                cwd=checkout,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def settings(self) -> Settings:
        return load_settings(self.given)

    def do(self, *arguments: str) -> str:
        """The output of make, beside the run and on its state."""
        done = subprocess.run(
            ["make", *arguments], cwd=self.checkout, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def text(self) -> str:
        return self.output.read_text(errors="replace")

    def wait_for(self, words: str, seconds: float = 900) -> None:
        """Until `words` are on the terminal."""

        def said() -> bool:
            if words in self.text():
                return True
            assert self.make.poll() is None, f"it ended before it said {words!r}:\n{self.text()}"
            return False

        until(said, f"{words!r} in\n{self.text()}", seconds)

    def wait_for_end(self, seconds: float = 120) -> int:
        """Until make has ended and no process of the run is left, not even one that lost its parent."""
        try:
            code = self.make.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it goes on:\n{self.text()}") from None
        until(lambda: not self.processes(), f"nothing left of {self.processes()}", seconds)
        for port in self.ports.values():
            socket.create_server(("127.0.0.1", int(port))).close()
        return code

    def processes(self) -> dict[int, str]:
        """Pid -> command line of everything that belongs to this run, parents first (pids begin anew)."""
        mark = f"{PREFIX}HOME={self.home}".encode()
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            # A process may end while it is looked at.
            with contextlib.suppress(OSError):
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    command = (folder / "cmdline").read_text().replace("\0", " ")
                    found[int(folder.name)] = (_started(int(folder.name)), command)
        return {pid: command for pid, (_, command) in sorted(found.items(), key=lambda item: item[1]) if command}

    def find(self, words: str) -> list[int]:
        """Pids whose command line holds `words`, parents first."""
        return [pid for pid, command in self.processes().items() if words in command]

    def cpu_seconds(self) -> float:
        """Processor time of the whole run so far."""
        return sum(sum(_stat(pid)[10:14]) for pid in self.processes()) / os.sysconf("SC_CLK_TCK")

    def all_ready(self) -> bool:
        return all(is_ready(process.health) for process in services(self.settings))

    def predictions(self) -> list[dict[str, Any]]:
        """The answers to the curl lines that the run printed."""
        return [_send(shlex.split(line)) for line in self.text().splitlines() if line.startswith("curl ")]

    def console(self, path: str) -> str:
        """A page of the console."""
        connection = http.client.HTTPConnection("127.0.0.1", self.settings.console_port, timeout=60)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            page = answer.read().decode()
            assert answer.status == http.client.OK, page
            return page
        finally:
            connection.close()

    def clear(self) -> None:
        """End it, however far it came."""
        with contextlib.suppress(OSError):
            os.killpg(self.make.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.make.wait(60)
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        self.make.wait()


def _stat(pid: int) -> list[int]:
    """What /proc/PID/stat has behind the state."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return list(map(int, fields[1:]))


def _started(pid: int) -> int:
    """When the process started, in clock ticks since the machine did."""
    return _stat(pid)[18]


def _send(curl: list[str]) -> dict[str, Any]:
    url, (name, value), body = urlsplit(curl[2]), curl[4].split(": "), curl[6]
    connection = http.client.HTTPConnection(str(url.hostname), url.port, timeout=60)
    try:
        connection.request("POST", url.path, body, {name: value})
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        return answer
    finally:
        connection.close()
