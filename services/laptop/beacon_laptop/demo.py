"""`make demo`: sixty simulated days of a product in minutes, through the interfaces of a running `make run`.

After quiet days the traffic changes, and the actuals of the changed traffic arrive weeks later. Profiling, retraining,
gate and promotion are the real jobs: the demo writes no result itself. See docs/tutorials/drift-to-promotion.md.
"""

import http.client
import math
import signal
import sys
import time
from datetime import timedelta
from typing import Any

import msgspec

from beacon_core.data import drift_results, ledger, retrain_requests
from beacon_core.data.client import DatabaseClient
from beacon_core.data.database import DatabaseUnavailableError
from beacon_core.data.prediction_log import traffic
from beacon_core.data.prediction_log.reading import lake_source, options_of
from beacon_core.domain import ledger_entries
from beacon_core.domain.data_errors import DataError
from beacon_core.domain.errors import ConfigurationError
from beacon_core.domain.exit_statuses import TRY_AGAIN
from beacon_core.domain.masking import message_of
from beacon_core.domain.product import Product
from beacon_core.model_package.manifest import PackageError
from beacon_core.model_package.release import ReleaseError, package_folder, read_release
from beacon_core.model_package.signature import read_trusted, trust_of
from beacon_core.platform import clock
from beacon_core.platform.arguments import CommandParser
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import Settings, clean_credentials, load_settings
from beacon_core.sources.errors import FetchError
from beacon_laptop.health import is_ready
from beacon_laptop.processes import Process, services
from beacon_laptop.reporter import report, terminal
from beacon_laptop.schedule import jobs, run_job
from beacon_laptop.simulated_traffic import CHANGE_DAY, SimulatedTraffic

DAYS = 60
ROWS_PER_DAY = 1.2
"""Predictions per day, as a multiple of those that a comparison needs."""
ACTUALS_QUIET, ACTUALS_CHANGED = 0.08, 0.8
"""Actuals per day, before and after the change, as a multiple of those that a performance figure needs."""
DELAY_DAYS = 2
SILENT_UNTIL = 34
"""From the change until this day no actual arrives; on this day all of them do."""
STEPS_OF_LAST_DAY = 12
BATCH_ROWS = 500
FEW = 100
"""Most predictions in a state before the demo, which shifts the state's clock permanently."""
TRIES = 10
SWAP_SECONDS = 30.0


class DemoError(Exception):
    """The demo cannot go on; the message says why and what to do."""


class PendingActual(msgspec.Struct, frozen=True):
    """An actual that will arrive on a day."""

    day: int
    prediction_id: str
    value: float


class Demo:
    """One run of the demo: the traffic, the running product, and the actuals that have not arrived yet."""

    def __init__(
        self, settings: Settings, simulated: SimulatedTraffic, database: DatabaseClient, retrain: tuple[str, ...]
    ) -> None:
        self.settings, self.simulated, self.database = settings, simulated, database
        self.drift, *self.reactions, _retention = jobs(settings, retrain)
        self.pending: list[PendingActual] = []
        self.state = ""
        self.played, self.days = 0, 0
        self.reported: set[str] = set()

    def play(self, days: int) -> None:
        """Play the days; raises `DemoError`."""
        with terminal().working("playing"):
            for day in range(1, days + 1):
                self.played, self.days = day - 1, days
                self.show("traffic")
                if day == CHANGE_DAY:
                    report(f"day {day}: the traffic changes: {self.simulated.change}")
                steps = STEPS_OF_LAST_DAY if day == days else 1
                for step in range(steps):
                    self.set_clock(timedelta(days=day - 1 + (step + 1) / steps))
                    self.send_requests(day, rows_per_day(self.simulated.product) // steps)
                if (arrived := self.send_actuals(day)) > BATCH_ROWS:
                    report(f"day {day}: {arrived} actuals arrive at once")
                self.run_jobs(day)

    def show(self, what: str) -> None:
        """Show what is at work, and how many days were played."""
        terminal().progress(what, self.played, self.days, "stages")

    def set_clock(self, ahead: timedelta) -> None:
        """Shift the clock, and wait until every process has seen it."""
        clock.set_shift(self.settings.home, ahead)
        time.sleep(clock.POLL_SECONDS + 0.1)

    def send_requests(self, day: int, count: int) -> None:
        """Request predictions of a day's rows; for some of them an actual will arrive."""
        left = actuals_per_day(self.simulated.product, day) * count // rows_per_day(self.simulated.product)
        for first in range(0, count, BATCH_ROWS):
            rows = self.simulated.rows(day, min(BATCH_ROWS, count - first))
            response = self.post("/v1/predict/batch", {"rows": [{"features": row.features} for row in rows]})
            self.pending += [
                PendingActual(arrival(day), prediction["prediction_id"], row.actual)
                for row, prediction in zip(rows[:left], response["predictions"], strict=False)
            ]
            left = max(left - len(rows), 0)

    def send_actuals(self, day: int) -> int:
        """Send the actuals that are due, and return their number."""
        due = [actual for actual in self.pending if actual.day <= day]
        self.pending = [actual for actual in self.pending if actual.day > day]
        for first in range(0, len(due), BATCH_ROWS):
            batch = due[first : first + BATCH_ROWS]
            items = [{"prediction_id": actual.prediction_id, "value": actual.value} for actual in batch]
            self.post("/v1/actuals", {"actuals": items})
        return len(due)

    def run_jobs(self, day: int) -> None:
        """Run the drift job; if it requests a retraining, retrain and promote."""
        self.show("drift")
        self.run(self.drift)
        with self.database.connect() as connection:
            run = drift_results.newest_run(connection)
            waiting = retrain_requests.newest(connection, 1, retrain_requests.WAITING)
        state = "" if run is None else run.state
        if state != self.state:
            report(f"day {day}: state of the drift run: {state}")
            self.state = state
        if not waiting:
            return
        report(f"day {day}: a retraining is requested: {waiting[0].reason}")
        for job in self.reactions:
            self.show(job.name)
            self.run(job)
        with self.database.connect() as connection:
            (newest,) = retrain_requests.newest(connection, 1)
        report(f"day {day}: {newest.outcome}")
        for ended in self.promotions():
            report(f"day {day}: promotion {ended.outcome}: {ended.message}")
        report(f"day {day}: version {self.serving()} serves")

    def promotions(self) -> list[ledger_entries.Entry]:
        """The ends of promotions that were not reported yet, the oldest first."""
        with self.database.connect() as connection:
            ends = ledger.ends(connection, self.simulated.product.name)
        new = [entry for entry in reversed(ends) if entry.key not in self.reported]
        self.reported |= {entry.key for entry in new}
        return new

    def run(self, job: Process) -> None:
        """Run a job as the schedule does, with retries while another run holds its lock; raises `DemoError`."""
        for _ in range(TRIES):
            with (self.settings.home / "logs" / "demo.log").open("ab") as output:
                status = run_job(self.settings, job, output)
            if status == 0:
                return
            if status != TRY_AGAIN:
                break
            time.sleep(3)
        raise DemoError(f"{job.name} ended with status {status}; {self.settings.home / 'logs' / 'demo.log'} says why")

    def serving(self) -> str:
        """Wait until inference serves the released version, and return it; raises `DemoError` after `SWAP_SECONDS`."""
        released = read_release(self.settings.release_file).model.version
        deadline = time.monotonic() + SWAP_SECONDS
        while (version := str(self.exchange("GET", "/readyz", None)["model"]["version"])) != released:
            if time.monotonic() > deadline:
                raise DemoError(f"version {released} is released, and {version} still serves; inference's log says why")
            time.sleep(0.5)
        return version

    def post(self, path: str, body: object) -> Any:
        """The answer to a POST; raises `DemoError`."""
        return self.exchange("POST", path, msgspec.json.encode(body))

    def exchange(self, method: str, path: str, body: bytes | None) -> Any:
        """The answer of inference; raises `DemoError` for anything but success."""
        settings = self.settings
        connection = http.client.HTTPConnection(settings.host, settings.inference_port, timeout=60)
        headers = {"content-type": "application/json"} | ({"x-api-key": settings.api_key} if settings.api_key else {})
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise DemoError(f"inference does not answer: {message_of(error)}") from error
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise DemoError(f"{path}: {response.status} {text[:500].decode(errors='replace')}")
        return msgspec.json.decode(text)


def rows_per_day(product: Product) -> int:
    """Predictions per day: enough for a comparison of one day."""
    return math.ceil(ROWS_PER_DAY * product.policy.drift.min_rows)


def actuals_per_day(product: Product, day: int) -> int:
    """The number of a day's predictions for which an actual will arrive."""
    share = ACTUALS_QUIET if day < CHANGE_DAY else ACTUALS_CHANGED
    return min(math.ceil(share * product.policy.drift.min_labels), rows_per_day(product))


def arrival(day: int) -> int:
    """The day on which the actuals of a day's predictions arrive."""
    return max(day + DELAY_DAYS, SILENT_UNTIL) if day >= CHANGE_DAY else day + DELAY_DAYS


def check(settings: Settings, database: DatabaseClient) -> None:
    """Raise `DemoError` unless all services run, on a state with few predictions and an unshifted clock."""
    for process in services(settings):
        if not is_ready(process.health):
            raise DemoError(f"{process.name} does not answer; start `make run` in another terminal and wait for it")
    if clock.shift():
        raise DemoError("the demo was played on this state; stop `make run`, `make clean`, and start it again")
    with database.connect() as connection:
        count = traffic.count(connection)
    if count > FEW:
        raise DemoError(
            f"{settings.home} holds {count} predictions, and the demo would shift their clock by {DAYS} days for good; "
            "give `make run` and `make demo` another BEACON_HOME"
        )


def expected_error(settings: Settings) -> float:
    """The mean absolute error that the model in service promises; raises `ReleaseError`, `PackageError`."""
    pin = read_release(settings.release_file).model
    return read_trusted(
        package_folder(settings.models_dir, pin), pin.sha256, trust_of(settings)
    ).manifest.expected_absolute_error


def main() -> int:
    """Play sixty days against a running `beacon run`. Exit status: 0 done, 1 it failed or cannot start."""
    parser = CommandParser(prog="beacon demo", description=__doc__)
    parser.add_argument("--days", type=int, default=DAYS, help="days to play")
    parser.add_argument("--seed", type=int, default=0, help="of the simulated traffic")
    parser.add_argument("--retrain", default="--folds 3 --repeats 1", help="arguments of jobs/retrain.py")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    began = time.monotonic()
    try:
        clean_credentials()
        settings = load_settings()
        product = load_product(settings.product)
        database = DatabaseClient(settings.database, options=options_of(lake_source(settings)))
        check(settings, database)
        simulated = SimulatedTraffic(product, options.seed, settings.home, expected_error(settings))
        Demo(settings, simulated, database, tuple(options.retrain.split())).play(options.days)
    except (
        DemoError,
        ConfigurationError,
        DataError,
        FetchError,
        DatabaseUnavailableError,
        ReleaseError,
        PackageError,
    ) as error:
        report(f"demo: {message_of(error)}")
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    console = f"http://{settings.host}:{settings.console_port}"
    lines = [
        f"\n{options.days} days played in {time.monotonic() - began:.0f} s. Look at",
        "",
        f"  the state now             {console}/",
        f"  drift, run by run         {console}/drift",
        f"  models and verdicts       {console}/models",
        f"  what served when          {console}/promotions",
        f"  runs of the jobs          {console}/jobs",
        f"  experiments               {settings.mlflow_address}",
    ]
    report("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
