"""`make run`: trains a first model if there is none, then serves everything on this machine until Ctrl-C or SIGTERM.

A process that ends is restarted and reported. One that does not stay up, or does not answer, stops everything.
Everything ends with this process (see die_with_parent.py).
"""

import contextlib
import http.client
import os
import shlex
import shutil
import time
import xmlrpc.client
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path

from beacon_core.data.database import DatabaseUnavailableError, migrate_at
from beacon_core.domain.errors import ConfigurationError
from beacon_core.domain.masking import message_of
from beacon_core.domain.product import Product
from beacon_core.model_package.release import read_release
from beacon_core.platform import results
from beacon_core.platform.arguments import CommandParser
from beacon_core.platform.locks import BusyError, exclusive
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import Settings, clean_credentials, load_settings, make_home
from beacon_laptop import first_model
from beacon_laptop.announcement import announce
from beacon_laptop.example import Body, example_requests
from beacon_laptop.health import ProbeResponse, is_ready, probe
from beacon_laptop.ports import PortError, check_ports
from beacon_laptop.processes import FEATURE_SERVING, MLFLOW, Process, services, training, variables
from beacon_laptop.reporter import log_end, report, report_stage, terminal
from beacon_laptop.signing import prepare_keys
from beacon_laptop.stop_request import StopRequest, stop_on_signals
from beacon_laptop.supervision import (
    START_SECONDS,
    Supervisor,
    log_file,
    socket_folder,
)

POLL_SECONDS = 0.1
UNTUNED = ("--budget-seconds", "0")
"""Of the first model: the first answer comes sooner, and the next retraining tunes."""
PROBE_EVERY_SECONDS = 5.0
FIRST_ANSWER_SECONDS = 15.0
PREDICTION_STATUSES = range(200, 500)
"""Statuses of a response with a prediction, or with an error of the request."""
SILENT_SECONDS = 60.0
"""How long a service that once was ready may go without an answer."""
LEAST_FREE_BYTES = 300 << 20
"""Of the disk: a first model, MLflow and the logs of a day take less."""
ENDING_SECONDS = 2.0
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
    parser = CommandParser(prog="beacon run", description=__doc__)
    parser.add_argument("--train", default="", metavar="ARGUMENTS", help="of `beacon retrain`, for the first model")
    arguments = parser.parse_args()
    stop = stop_on_signals()
    status, text = 0, ""
    try:
        clean_credentials()
        settings = load_settings()
        product = load_product(settings.product)
        make_home(settings)
        settings.spools_dir.mkdir(parents=True, exist_ok=True)
        check_disk(settings.home)
        with only_one(settings.home):
            check_ports(settings)
            migrated = migrate_store(settings)
            report(f"beacon: {product.name}; logs in {settings.home / 'logs'}")
            report_stage("migrate", *migrated)
            prepare_keys(settings, product.name)
            Laptop(settings, training(settings, (*UNTUNED, *shlex.split(arguments.train))), stop).run(product)
    except (UsageError, ConfigurationError, PortError) as error:
        status, text = 2, f"beacon cannot start: {message_of(error)}"
    except (LaptopError, first_model.TrainingError) as error:
        status, text = 1, f"beacon stops: {error}"
    if status:
        report(text, "red")
        results.fail(text, status)
        results.finish(status)
    return status


def check_disk(home: Path) -> None:
    """Raise `UsageError` where the state would fill the disk."""
    free = shutil.disk_usage(home).free
    if free < LEAST_FREE_BYTES:
        needed = f"{LEAST_FREE_BYTES >> 20} MB are needed: free some, or set BEACON_HOME to another disk"
        raise UsageError(f"{free >> 20} MB are free where {home} lies, and {needed}")


def migrate_store(settings: Settings) -> tuple[str, float]:
    """Migrate the store, and say how it went and how long; one that does not answer is waited for by the services."""
    began = time.monotonic()
    try:
        migrate_at(settings.database)
        text = "the store has the newest schema"
    except DatabaseUnavailableError as error:
        text = f"the database does not answer, the services wait for it: {message_of(error)}"
    return text, time.monotonic() - began


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
        self.later: list[Process] = []
        """Not started before all is ready: MLflow, unless a first model needed it, and what builds on it.

        Predictions, features and the console do without MLflow, and it takes the longest.
        """
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
                self.announce(bodies)
                self.start_later()
                self.watch()
            except StoppedError as reason:
                report(f"\nbeacon: {reason}, stopping everything")
            finally:
                began = time.monotonic()
                self.supervisor.stop()
            report(f"beacon: stopped in {time.monotonic() - began:.1f} s")

    def start_services(self) -> None:
        """Start what answers requests; with a first model to train, MLflow and the training before it."""
        self.wait_for_supervisor()
        first, *others = [process for process in self.services if process.health]
        jobs = [process for process in self.services if not process.health]
        if self.settings.release_file.exists():
            self.later = [first, *jobs]
        else:
            self.start([first])
            self.train()
            self.later = jobs
        self.start(others)

    def start_later(self) -> None:
        """Start MLflow, and the schedule and the promoter once it is ready."""
        if self.later and self.later[0].name == MLFLOW:
            mlflow, *self.later = self.later
            self.start([mlflow])
        for process in self.later:
            self.supervisor.start(process.name)
        self.later = []

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
        names = ", ".join(process.name for process in processes)
        report(f"beacon: starting {names}")
        for process in processes:
            self.supervisor.start(process.name)
        with terminal().working(f"starting {names}"):
            self.wait_for_ready(processes)

    def wait_for_ready(self, processes: list[Process]) -> None:
        """Wait until each is ready, and report its time; raises `LaptopError` when one is not in time."""
        began = time.monotonic()
        waiting = list(processes)
        while waiting:
            self.pause()
            self.check_processes()
            for process in [process for process in waiting if is_ready(process.health)]:
                waiting.remove(process)
                report(f"  {process.name:<16} ready after {time.monotonic() - began:.1f} s")
            if waiting and time.monotonic() - began > START_SECONDS:
                raise LaptopError(
                    f"{self.no_answer(waiting[0])} within {START_SECONDS:.0f} s\n{self.log_of(waiting[0].name)}"
                )

    def train(self) -> None:
        """Train the first model; raises `TrainingError`, or `LaptopError` where it left no release."""
        report("beacon: no model yet; training the first one")

        def pause() -> None:
            self.pause()
            self.check_processes()

        first_model.train(self.job, self.environment, log_file(self.supervisor.logs, self.job.name), pause)
        if not self.settings.release_file.exists():
            raise LaptopError(
                f"training ended without a release in {self.settings.release_file}; `make retrain` says why"
            )

    def warm_up(self, bodies: list[Body]) -> None:
        """Send a user's first requests, so that the user does not wait for lazy initialization.

        Raises `LaptopError` when there is no response.
        """
        began = time.monotonic()
        # Synthetic requests, so that the prediction log does not have them.
        headers = {"Beacon-Synthetic": "true", "X-API-Key": self.settings.api_key}
        for body in bodies:
            while not self.is_answered(response := probe(self.prediction_url, body, headers, FIRST_ANSWER_SECONDS)):
                if time.monotonic() - began > START_SECONDS:
                    message = f"{self.prediction_url} has no prediction: {response.status} {response.reason}"
                    raise LaptopError(f"{message}\n{self.log_of('inference')}")
                self.pause()
                self.check_processes()
            if response.status != http.client.OK:
                report(f"beacon: the example below is refused, {response.status}: {response.reason}")
        console = f"http://{self.settings.host}:{self.settings.console_port}"
        for page in ("/", f"/models/{read_release(self.settings.release_file).model.version}"):
            response = probe(console + page, seconds=FIRST_ANSWER_SECONDS)
            if response.status >= http.client.BAD_REQUEST and response.status != http.client.UNAUTHORIZED:
                report(f"beacon: the console's page {page} answers {response.status}")
        report_stage("first answers", "of the examples below, and of the console", time.monotonic() - began)

    def is_answered(self, response: ProbeResponse) -> bool:
        """Whether it is what a user will get: a prediction with what the store has, or an error of the request."""
        return response.status in PREDICTION_STATUSES

    def announce(self, bodies: list[Body]) -> None:
        """Report the addresses, two example requests, and what to try next."""
        names = {process.name for process in self.services}
        later = {process.name for process in self.later}
        seconds = time.monotonic() - self.began
        announce(
            self.settings, bodies, seconds, has_features=FEATURE_SERVING in names, mlflow_is_ready=MLFLOW not in later
        )

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
            # One that was just killed refuses before it is known to have ended; `pause` tells of that.
            deadline = time.monotonic() + ENDING_SECONDS
            while self.supervisor.gone() is None and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
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
