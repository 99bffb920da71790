"""`make run`: trains a first model if there is none, then serves everything on this machine until Ctrl-C or SIGTERM.

A process that ends is restarted and reported. One that does not stay up, or does not answer, stops everything.
Everything ends with this process (see die_with_parent.py).
"""

import argparse
import contextlib
import http.client
import os
import shlex
import time
import xmlrpc.client
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from beacon_core.data.database import DatabaseUnavailableError, migrate_at
from beacon_core.domain.errors import ConfigurationError
from beacon_core.domain.masking import message_of
from beacon_core.domain.product import Product
from beacon_core.model_package.release import read_release
from beacon_core.platform.locks import BusyError, exclusive
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import PREFIX, Settings, clean_credentials, load_settings, make_home
from beacon_laptop.example import Body, curl_command, example_requests
from beacon_laptop.health import is_ready, probe
from beacon_laptop.ports import PortError, check_ports
from beacon_laptop.processes import FEATURE_SERVING, Process, services, training, variables
from beacon_laptop.reporter import log_end, new_lines, report, user_message
from beacon_laptop.signing import prepare_keys
from beacon_laptop.stop_request import StopRequest, stop_on_signals
from beacon_laptop.supervision import (
    START_SECONDS,
    Supervisor,
    log_file,
    popen,
    socket_folder,
    terminating,
)

POLL_SECONDS = 0.25
UNTUNED = ("--budget-seconds", "0")
"""Of the first model: the first answer comes sooner, and the next retraining tunes."""
PROBE_EVERY_SECONDS = 5.0
FIRST_ANSWER_SECONDS = 15.0
PREDICTION_STATUSES = range(200, 500)
"""Statuses of a response with a prediction, or with an error of the request."""
SILENT_SECONDS = 60.0
"""How long a service that once was ready may go without an answer."""
RESTARTS = 5
RESTART_WINDOW_SECONDS = 120.0


class UsageError(Exception):
    """The laptop cannot start with these options; nothing was started."""


class LaptopError(Exception):
    """A failure that stops everything; the message says why."""


class StoppedError(Exception):
    """A stop was requested."""


def main() -> int:
    """Serve everything on this machine until Ctrl-C or SIGTERM.

    Exit status: 0 stopped on request, 1 something failed, 2 it cannot start with these settings.
    """
    parser = argparse.ArgumentParser(prog="beacon_laptop", description=__doc__)
    parser.add_argument("--train", default="", metavar="ARGUMENTS", help="of jobs/retrain.py, for the first model")
    arguments = parser.parse_args()
    stop = stop_on_signals()
    try:
        clean_credentials()
        settings = load_settings()
        product = load_product(settings.product)
        make_home(settings)
        with only_one(settings.home):
            check_ports(settings)
            with contextlib.suppress(DatabaseUnavailableError):  # the services wait for it
                migrate_at(settings.database)
            prepare_keys(settings, product.name)
            Laptop(settings, training(settings, (*UNTUNED, *shlex.split(arguments.train))), stop).run(product)
    except (UsageError, ConfigurationError, PortError) as error:
        report(f"beacon cannot start: {message_of(error)}")
        return 2
    except LaptopError as error:
        report(f"beacon stops: {error}")
        return 1
    return 0


@contextlib.contextmanager
def only_one(home: Path) -> Iterator[None]:
    """Hold the lock of the state folder; raises `UsageError` when another run holds it."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(exclusive(home / "run" / "lock", f"it is already running on {home}", str(os.getpid())))
        except BusyError as error:
            pid = error.holder
            message = f"it is already running on {home} (pid {pid}). Stop that one with Ctrl-C or `kill {pid}`"
            raise UsageError(message) from error
        yield


def report_progress(log: BinaryIO) -> None:
    """Report the lines for the user that a job has logged since the last call."""
    for line in new_lines(log):
        if (text := user_message(line)) is not None:
            report(f"  {text}")


class Laptop:
    """One run of the laptop: the supervisor, the training job, and the watch over both."""

    def __init__(self, settings: Settings, job: Process, stop: StopRequest) -> None:
        self.settings = settings
        self.job = job
        self.stop = stop
        self.parent = os.getppid()
        self.began = time.monotonic()
        self.services = services(settings)
        self.prediction_url = f"http://{settings.host}:{settings.inference_port}/v1/predict"
        self.environment = variables(settings)
        self.restarts: dict[str, deque[float]] = {process.name: deque() for process in self.services}
        self.pids: Counter[str] = Counter()
        for process in (*self.services, job):
            if not process.python.exists():
                raise UsageError(f"{process.python} does not exist; `make run` builds it")

    def run(self, product: Product) -> None:
        """Start all processes, report the addresses and watch; leaves nothing running. Raises `LaptopError`."""
        with socket_folder() as folder:
            self.supervisor = Supervisor(
                self.services, self.environment, self.settings.home, Path(folder) / "supervisor.sock"
            )
            try:
                self.start_services()
                bodies = example_requests(product, self.settings.home)  # of the table that the training has read
                self.warm_up(bodies)
                self.start([process for process in self.services if not process.health])
                self.announce(bodies)
                self.watch()
            except StoppedError as reason:
                report(f"\nbeacon: {reason}, stopping everything")
            finally:
                began = time.monotonic()
                self.supervisor.stop()
            report(f"beacon: stopped in {time.monotonic() - began:.1f} s")

    def start_services(self) -> None:
        """Start every service with a health URL; all but MLflow wait for the training of the first model."""
        self.wait_for_supervisor()
        first, *others = [process for process in self.services if process.health]
        if self.settings.release_file.exists():
            others = [first, *others]
        else:
            self.start([first])
            self.train()
        self.start(others)

    def wait_for_supervisor(self) -> None:
        """Wait until the supervisor answers; raises `LaptopError` when it does not."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self.pause()
            with contextlib.suppress(OSError, xmlrpc.client.Error):
                self.supervisor.states()
                return
        raise LaptopError(f"the supervisor does not answer\n{self.log_of('supervisord')}")

    def start(self, processes: list[Process]) -> None:
        """Start `processes` all at once and wait until each is ready; raises `LaptopError` when one is not in time."""
        report("beacon: starting " + ", ".join(process.name for process in processes))
        began = time.monotonic()
        for process in processes:
            self.supervisor.start(process.name)
        waiting = list(processes)
        while waiting:
            self.pause()
            self.check_processes()
            for process in [process for process in waiting if is_ready(process.health)]:
                waiting.remove(process)
                if process.health:
                    report(f"  {process.name:<16} ready after {time.monotonic() - began:.1f} s")
            if waiting and time.monotonic() - began > START_SECONDS:
                raise LaptopError(
                    f"{self.no_answer(waiting[0])} within {START_SECONDS:.0f} s\n{self.log_of(waiting[0].name)}"
                )

    def train(self) -> None:
        """Train the first model: its log into a file, its stages on the terminal.

        Raises `LaptopError` when it fails.
        """
        report("beacon: no model yet; training the first one")
        file = log_file(self.supervisor.logs, self.job.name)
        with file.open("ab") as log, file.open("rb") as written:
            written.seek(0, os.SEEK_END)
            # The log file is always JSON, whatever the setting.
            environment = self.environment | {f"{PREFIX}LOG_FORMAT": "json"}
            try:
                with terminating(popen(self.job.command, environment, log)) as job:
                    while (status := job.poll()) is None:
                        self.pause()
                        self.check_processes()
                        report_progress(written)
            finally:
                report_progress(written)
        if status != 0:
            raise LaptopError(f"training the first model failed (status {status})\n{self.log_of(self.job.name)}")
        if not self.settings.release_file.exists():
            raise LaptopError(f"training ended without a release in {self.settings.release_file}")

    def warm_up(self, bodies: list[Body]) -> None:
        """Send a user's first requests, so that the user does not wait for lazy initialization.

        Raises `LaptopError` when there is no response.
        """
        began = time.monotonic()
        # Synthetic requests, so that the prediction log does not have them.
        headers = {"Beacon-Synthetic": "true", "X-API-Key": self.settings.api_key}
        for body in bodies:
            while (
                response := probe(self.prediction_url, body, headers, FIRST_ANSWER_SECONDS)
            ).status not in PREDICTION_STATUSES:
                if time.monotonic() - began > START_SECONDS:
                    message = f"{self.prediction_url} has no prediction: {response.status} {response.reason}"
                    raise LaptopError(f"{message}\n{self.log_of('inference')}")
                self.pause()
                self.check_processes()
            if response.status != http.client.OK:
                report(f"beacon: the example below is refused, {response.status}: {response.reason}")
        console = f"http://{self.settings.host}:{self.settings.console_port}"
        for page in ("/", f"/models/{read_release(self.settings.release_file).model.version}"):
            probe(console + page, seconds=FIRST_ANSWER_SECONDS)  # only to warm the page up
        report(f"  first predictions and pages after {time.monotonic() - began:.1f} s")

    def announce(self, bodies: list[Body]) -> None:
        """Report the addresses, and two example requests."""
        settings = self.settings
        host = f"http://{settings.host}"
        metrics = (settings.inference_metrics_port, settings.features_metrics_port)
        ready = time.monotonic() - self.began
        has_features = any(process.name == FEATURE_SERVING for process in self.services)
        features = f"{host}:{settings.features_port}   (metrics on {metrics[1]})" if has_features else "none: no entity"
        lines = [
            f"\nbeacon is ready after {ready:.1f} s. State and logs: {settings.home}. Ctrl-C stops everything.",
            "",
            f"  predictions      {host}:{settings.inference_port}/docs   (metrics on {metrics[0]})",
            f"  features         {features}",
            f"  MLflow           {settings.mlflow_address}",
            f"  console          {host}:{settings.console_port}",
            "",
            f"Request a prediction, {'by entity or ' if has_features else ''}by features:",
            "",
            *[curl_command(self.prediction_url, body) for body in bodies],
            "",
        ]
        report("\n".join(lines))

    def watch(self) -> None:
        """Watch until a stop is requested; raises `LaptopError` when a service does not stay up or does not answer."""
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
                    raise LaptopError(
                        f"{self.no_answer(process)} for {SILENT_SECONDS:.0f} s\n{self.log_of(process.name)}"
                    )
            probe_at = time.monotonic() + PROBE_EVERY_SECONDS

    def pause(self) -> None:
        """Wait a moment; raises `StoppedError` when a stop is requested, `LaptopError` when the supervisor is gone."""
        time.sleep(POLL_SECONDS)
        if self.stop.is_made:
            raise StoppedError("stop requested")
        # A killed `make` does not stop its children.
        if "MAKELEVEL" in os.environ and os.getppid() != self.parent:
            raise StoppedError("make has ended")
        if gone := self.supervisor.gone():
            raise LaptopError(f"the supervisor {gone}\n{self.log_of('supervisord')}")

    def check_processes(self) -> None:
        """Report each process that was restarted; raises `LaptopError` for one that does not stay up."""
        try:
            states = self.supervisor.states()
        except (OSError, xmlrpc.client.Error) as error:
            if self.supervisor.gone() is None:
                raise LaptopError(f"the supervisor does not answer: {message_of(error)}") from error
            return
        for name, state in states.items():
            if state.name == "FATAL":
                raise LaptopError(f"{name} does not stay up ({self.supervisor.last_exit(name)})\n{self.log_of(name)}")
            if state.pid and self.pids[name] and state.pid != self.pids[name]:
                self.report_restart(name)
            self.pids[name] = state.pid or self.pids[name]

    def report_restart(self, name: str) -> None:
        """Report a restart; raises `LaptopError` when there were too many."""
        times = self.restarts[name]
        times.append(time.monotonic())
        report(f"beacon: {name} ended ({self.supervisor.last_exit(name)}) and is restarted\n{self.log_of(name)}")
        while times[0] < times[-1] - RESTART_WINDOW_SECONDS:
            times.popleft()
        if len(times) > RESTARTS:
            raise LaptopError(f"{name} was restarted {len(times)} times in {RESTART_WINDOW_SECONDS:.0f} s")

    def no_answer(self, process: Process) -> str:
        """The beginning of a sentence about a service that does not answer."""
        return f"{process.name} has not answered {process.health}"

    def log_of(self, name: str) -> str:
        """The end of the log of `name`."""
        return log_end(log_file(self.supervisor.logs, name))
