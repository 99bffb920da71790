"""`make run`: train a first model if there is none, then serve everything on this machine until told to stop.

Whatever ends, the whole is told: a process that dies is restarted and named, one that cannot stay up or does not
answer ends everything, and everything goes when this process goes (see leash.py).
"""

import argparse
import contextlib
import fcntl
import os
import shlex
import signal
import subprocess
import tempfile
import threading
import time
import xmlrpc.client
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path

from beacon_core.errors import ConfigurationError
from beacon_core.masking import word
from beacon_core.product import load_product
from beacon_core.settings import Settings, clean_credentials, load_settings
from beacon_laptop.example import curl_lines
from beacon_laptop.health import is_ready
from beacon_laptop.ports import PortError, check_ports
from beacon_laptop.processes import Process, services, training, variables
from beacon_laptop.supervision import STOP_SECONDS, Supervisor, kill_group, log_file, popen
from beacon_laptop.terminal import log_end, say

POLL_SECONDS = 0.25
PROBE_EVERY_SECONDS = 5.0
START_SECONDS = 120.0
SILENT_SECONDS = 60.0
"""How long a service that once was ready may go without an answer."""
RESTARTS = 5
RESTART_WINDOW_SECONDS = 120.0


class UsageError(Exception):
    """It cannot start as asked; nothing was started."""


class Failed(Exception):  # noqa: N818 (an outcome)
    """The whole has to end; the message says why."""


class Stopped(Exception):  # noqa: N818 (an outcome)
    """Somebody asked for the end."""


def main() -> int:
    """Run until told to stop. Exit status: 0 stopped as asked, 1 something failed, 2 it cannot start like this."""
    parser = argparse.ArgumentParser(prog="beacon_laptop", description=__doc__)
    parser.add_argument("--train", default="", metavar="ARGUMENTS", help="of jobs/retrain.py, for the first model")
    arguments = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    try:
        clean_credentials()
        settings = load_settings()
        curls = curl_lines(load_product(settings.product), f"http://{settings.host}:{settings.inference_port}")
        with only_one(settings.home):
            check_ports(settings)
            Laptop(settings, training(shlex.split(arguments.train)), stop).run(curls)
    except (UsageError, ConfigurationError, PortError) as error:
        say(f"beacon cannot start: {word(error)}")
        return 2
    except Failed as error:
        say(f"beacon ends: {error}")
        return 1
    return 0


@contextlib.contextmanager
def only_one(home: Path) -> Iterator[None]:
    """Hold the lock of the state folder; raises `UsageError` when another run holds it."""
    folder = home / "run"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            stream.seek(0)
            pid = stream.read().strip()
            message = f"it already runs on {home} (pid {pid}). Stop that one with Ctrl-C or `kill {pid}`"
            raise UsageError(message) from error
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        try:
            yield
        finally:
            stream.truncate(0)


class Laptop:
    """One run: the supervisor, the job that trains, and the watch over both."""

    def __init__(self, settings: Settings, job: Process, stop: threading.Event) -> None:
        self.settings = settings
        self.job = job
        self.stop = stop
        self.parent = os.getppid()
        self.began = time.monotonic()
        self.services = services(settings)
        self.environment = variables(settings)
        self.restarts: dict[str, deque[float]] = {process.name: deque() for process in self.services}
        self.pids: Counter[str] = Counter()
        for process in (*self.services, job):
            if not process.python.exists():
                raise UsageError(f"{process.python} does not exist; `make run` builds it")

    def run(self, curls: list[str]) -> None:
        """Start, announce, watch; whatever the reason for the end, nothing is left running. Raises `Failed`."""
        # A socket's path has room for about 100 characters, and the state's folder may lie deep.
        with tempfile.TemporaryDirectory(prefix="beacon-") as folder:
            self.supervisor = Supervisor(
                self.services, self.environment, self.settings.home, Path(folder) / "supervisor.sock"
            )
            try:
                self.bring_up()
                self.announce(curls)
                self.watch()
            except Stopped as reason:
                say(f"\nbeacon: {reason}, stopping everything")
            finally:
                began = time.monotonic()
                self.supervisor.stop()
            say(f"beacon: stopped in {time.monotonic() - began:.1f} s")

    def bring_up(self) -> None:
        """Start every service; the ones that need a model wait for the first one to be trained."""
        self.wait_for_supervisor()
        if self.settings.release_file.exists():
            say("beacon: starting " + ", ".join(process.name for process in self.services))
            self.start(self.services)
            return
        first, *others = self.services
        say(f"beacon: starting {first.name}")
        self.start((first,))
        self.train()
        self.start(tuple(others))

    def wait_for_supervisor(self) -> None:
        """Until the supervisor answers."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self.pause()
            with contextlib.suppress(OSError, xmlrpc.client.Error):
                self.supervisor.states()
                return
        raise Failed(f"the supervisor does not answer\n{self.log_of('supervisord')}")

    def start(self, processes: tuple[Process, ...]) -> None:
        """Start `processes` all at once and wait until each is ready; raises `Failed` when one is not in time."""
        began = time.monotonic()
        for process in processes:
            self.supervisor.start(process.name)
        waiting = list(processes)
        while waiting:
            self.pause()
            self.check_processes()
            for process in [process for process in waiting if is_ready(process.health)]:
                waiting.remove(process)
                say(f"  {process.name:<16} ready after {time.monotonic() - began:.1f} s")
            if waiting and time.monotonic() - began > START_SECONDS:
                raise Failed(f"{self.late(waiting[0])} within {START_SECONDS:.0f} s\n{self.log_of(waiting[0].name)}")

    def train(self) -> None:
        """Train the first model, its output on the terminal; raises `Failed` when the job fails."""
        say("beacon: no model yet; training the first one")
        job = popen(self.job.command, self.environment)
        try:
            while (status := job.poll()) is None:
                self.pause()
                self.check_processes()
        finally:
            # Also after its end: nothing it started may stay.
            kill_group(job.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                job.wait(timeout=STOP_SECONDS)
            kill_group(job.pid, signal.SIGKILL)
            job.wait()
        if status != 0:
            raise Failed(f"training the first model failed (status {status}); the lines above say why")
        if not self.settings.release_file.exists():
            raise Failed(f"training ended without a release in {self.settings.release_file}")

    def announce(self, curls: list[str]) -> None:
        """Say what is there and how to ask it."""
        settings = self.settings
        host = f"http://{settings.host}"
        metrics = (settings.inference_metrics_port, settings.features_metrics_port)
        ready = time.monotonic() - self.began
        lines = [
            f"\nbeacon is ready after {ready:.1f} s. State and logs: {settings.home}. Ctrl-C stops everything.",
            "",
            f"  predictions      {host}:{settings.inference_port}/docs   (metrics on {metrics[0]})",
            f"  features         {host}:{settings.features_port}   (metrics on {metrics[1]})",
            f"  MLflow           {settings.mlflow_address}",
            f"  console          {host}:{settings.console_port}",
            "",
            "Ask for a prediction, by entity or by features:",
            "",
            *curls,
            "",
        ]
        say("\n".join(lines))

    def watch(self) -> None:
        """Until somebody asks for the end; raises `Failed` when a service cannot be kept up."""
        answered = dict.fromkeys(self.services, time.monotonic())
        probe_at = 0.0
        while True:
            self.pause()
            self.check_processes()
            if time.monotonic() < probe_at:
                continue
            for process, last in answered.items():
                if is_ready(process.health):
                    answered[process] = time.monotonic()
                elif time.monotonic() - last > SILENT_SECONDS:
                    raise Failed(f"{self.late(process)} for {SILENT_SECONDS:.0f} s\n{self.log_of(process.name)}")
            probe_at = time.monotonic() + PROBE_EVERY_SECONDS

    def pause(self) -> None:
        """Wait a moment; raises `Stopped` when the end is asked for, `Failed` when the supervisor is gone."""
        if self.stop.wait(POLL_SECONDS):
            raise Stopped("told to stop")
        # `make` that is killed takes nobody with it by itself.
        if "MAKELEVEL" in os.environ and os.getppid() != self.parent:
            raise Stopped("make has ended")
        if gone := self.supervisor.gone():
            raise Failed(f"the supervisor {gone}\n{self.log_of('supervisord')}")

    def check_processes(self) -> None:
        """Name each process that was restarted; raises `Failed` for one that cannot be kept up."""
        try:
            states = self.supervisor.states()
        except (OSError, xmlrpc.client.Error) as error:
            if self.supervisor.gone() is None:
                raise Failed(f"the supervisor does not answer: {word(error)}") from error
            return
        for name, state in states.items():
            if state.name == "FATAL":
                raise Failed(f"{name} ends again and again ({self.supervisor.last_exit(name)})\n{self.log_of(name)}")
            if state.pid and self.pids[name] and state.pid != self.pids[name]:
                self.restarted(name)
            self.pids[name] = state.pid or self.pids[name]

    def restarted(self, name: str) -> None:
        """Tell of a restart; raises `Failed` when there were too many."""
        times = self.restarts[name]
        times.append(time.monotonic())
        say(f"beacon: {name} ended ({self.supervisor.last_exit(name)}) and is started again\n{self.log_of(name)}")
        while times[0] < times[-1] - RESTART_WINDOW_SECONDS:
            times.popleft()
        if len(times) > RESTARTS:
            raise Failed(f"{name} was started {len(times)} times again in {RESTART_WINDOW_SECONDS:.0f} s")

    def late(self, process: Process) -> str:
        """A sentence's beginning for a service that gives no answer."""
        return f"{process.name} has not answered {process.health}"

    def log_of(self, name: str) -> str:
        """The end of the log of `name`."""
        return log_end(log_file(self.supervisor.logs, name))
