"""`make demo`: sixty days of a product's life, played in minutes through the interfaces of a running `make run`.

Quiet days; then the world changes; the true prices of the changed world arrive weeks later. Profiling, retraining, gate
and promotion are the real jobs: nothing is written past them, and what they find is theirs. See docs/tutorials/demo.md.
"""

import argparse
import http.client
import signal
import sys
import time
from datetime import timedelta
from typing import Any

import msgspec
from sqlalchemy import Engine, func, select
from tqdm import tqdm

from beacon_core.data import ledger
from beacon_core.data.database import open_store
from beacon_core.data.tables import drift_runs, predictions, retrain_requests
from beacon_core.domain import ledger_entries
from beacon_core.domain.errors import ConfigurationError
from beacon_core.domain.exit_statuses import TRY_AGAIN
from beacon_core.domain.masking import message_of
from beacon_core.model_package.release import ReleaseError, read_release
from beacon_core.platform import clock
from beacon_core.platform.data_file import DataError
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import Settings, clean_credentials, load_settings
from beacon_laptop.health import is_ready
from beacon_laptop.processes import Process, services
from beacon_laptop.schedule import jobs, run_job
from beacon_laptop.terminal import say
from beacon_laptop.world import CHANGE_DAY, World

DAYS = 60
HOMES_A_DAY = 240
LABELS_QUIET, LABELS_CHANGED = 8, 80
"""Homes sold a day, whose true price will be known."""
DELAY_DAYS = 2
SILENT_UNTIL = 34
"""From the change until this day no price arrives; then all of them do."""
STEPS_OF_LAST_DAY = 12
MOST_ROWS = 500
FEW = 100
"""Predictions that a state may hold before the demo: its clock is shifted for good."""
TRIES = 10
SWAP_SECONDS = 30.0


class DemoError(Exception):
    """The demo cannot go on; the message says why and what to do."""


class Label(msgspec.Struct, frozen=True):
    """A true price that will arrive on a day."""

    day: int
    prediction_id: str
    price: float


class Demo:
    """One play: the world, the running product, and the prices still on their way."""

    def __init__(self, settings: Settings, world: World, engine: Engine, retrain: tuple[str, ...]) -> None:
        self.settings, self.world, self.engine = settings, world, engine
        self.drift, *self.answers = jobs(retrain)
        self.labels: list[Label] = []
        self.state = ""
        self.told: set[str] = set()

    def play(self, days: int) -> None:
        """Play the days; raises `DemoError`."""
        with tqdm(total=days, unit="day", desc="playing", smoothing=0.1) as bar:
            for day in range(1, days + 1):
                if day == CHANGE_DAY:
                    bar.write(f"day {day}: the world changes: fewer rooms, poorer neighbours, and prices fall further")
                steps = STEPS_OF_LAST_DAY if day == days else 1
                for step in range(steps):
                    self.set_clock(timedelta(days=day - 1 + (step + 1) / steps))
                    self.ask(day, HOMES_A_DAY // steps)
                if arrived := self.tell(day):
                    bar.write(f"day {day}: {arrived} true prices arrive at once") if arrived > MOST_ROWS else None
                self.judge(day, bar)
                bar.update()

    def set_clock(self, ahead: timedelta) -> None:
        """Shift the clock, and wait until everybody has seen it."""
        clock.set_shift(self.settings.home, ahead)
        time.sleep(clock.LOOK_SECONDS + 0.1)

    def ask(self, day: int, count: int) -> None:
        """Ask for predictions of a day's homes; some of them will be sold."""
        homes = self.world.homes(day, count)
        answer = self.post("/v1/predict/batch", {"rows": [{"features": home.features} for home in homes]})
        sold = (LABELS_QUIET if day < CHANGE_DAY else LABELS_CHANGED) * count // HOMES_A_DAY
        self.labels += [
            Label(arrival(day), answered["prediction_id"], home.price)
            for home, answered in zip(homes[:sold], answer["predictions"], strict=False)
        ]

    def tell(self, day: int) -> int:
        """Send the true prices that are due; their number."""
        due = [label for label in self.labels if label.day <= day]
        self.labels = [label for label in self.labels if label.day > day]
        for first in range(0, len(due), MOST_ROWS):
            items = [
                {"prediction_id": label.prediction_id, "value": label.price} for label in due[first : first + MOST_ROWS]
            ]
            self.post("/v1/actuals", {"actuals": items})
        return len(due)

    def judge(self, day: int, bar: "tqdm[Any]") -> None:
        """Compare as the hourly job does; if that asks for a retraining, retrain and promote."""
        bar.set_postfix_str("drift")
        self.run(self.drift)
        newest = select(drift_runs.c.state).order_by(drift_runs.c.period.desc()).limit(1)
        with self.engine.connect() as connection:
            state = str(connection.execute(newest).scalar())
            waiting = connection.execute(
                select(retrain_requests.c.reason).where(retrain_requests.c.state == "waiting")
            ).scalar()
        if state != self.state:
            bar.write(f"day {day}: drift run says: {state}")
            self.state = state
        if waiting is None:
            bar.set_postfix_str("")
            return
        bar.write(f"day {day}: retraining is asked for: {waiting}")
        for job in self.answers:
            bar.set_postfix_str(job.name)
            self.run(job)
        with self.engine.connect() as connection:
            outcome = connection.execute(
                select(retrain_requests.c.outcome).order_by(retrain_requests.c.id.desc()).limit(1)
            ).scalar()
        bar.write(f"day {day}: {outcome}")
        for ended in self.promotions():
            bar.write(f"day {day}: promotion {ended.outcome}: {ended.message}")
        bar.write(f"day {day}: version {self.serving()} serves")

    def promotions(self) -> list[ledger_entries.Entry]:
        """How promotions ended that nobody was told of, the oldest first."""
        with self.engine.connect() as connection:
            ends = ledger.ends(connection, self.world.product.name)
        new = [entry for entry in reversed(ends) if entry.key not in self.told]
        self.told |= {entry.key for entry in new}
        return new

    def run(self, job: Process) -> None:
        """Run a job as the schedule does, and again where that one is at it; raises `DemoError` when it fails."""
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
        """The version in service, once inference has taken the released one; raises `DemoError` when it does not."""
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


def arrival(day: int) -> int:
    """The day on which the prices of a day's homes are known."""
    return max(day + DELAY_DAYS, SILENT_UNTIL) if day >= CHANGE_DAY else day + DELAY_DAYS


def check(settings: Settings, engine: Engine) -> None:
    """Raise `DemoError` unless everything runs, on a state that nobody needs."""
    for process in services(settings):
        if not is_ready(process.health):
            raise DemoError(f"{process.name} does not answer; start `make run` in another terminal and wait for it")
    if clock.shift():
        raise DemoError("the demo was played on this state; stop `make run`, `make clean`, and start it again")
    with engine.connect() as connection:
        count = connection.execute(select(func.count()).select_from(predictions)).scalar() or 0
    if count > FEW:
        raise DemoError(
            f"{settings.home} holds {count} predictions, and the demo would shift their clock by {DAYS} days for good; "
            "give `make run` and `make demo` another BEACON_HOME"
        )


def main() -> int:
    """Play sixty days against a running `beacon run`. Exit status: 0 done, 1 it cannot be played or went wrong."""
    parser = argparse.ArgumentParser(prog="beacon_laptop.demo", description=__doc__)
    parser.add_argument("--days", type=int, default=DAYS)
    parser.add_argument("--seed", type=int, default=0, help="of the homes")
    parser.add_argument("--retrain", default="--folds 3 --repeats 1", help="arguments of jobs/retrain.py")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    began = time.monotonic()
    try:
        clean_credentials()
        settings = load_settings()
        product = load_product(settings.product)
        engine = open_store(settings.database)
        check(settings, engine)
        world = World(product, given.seed)
        Demo(settings, world, engine, tuple(given.retrain.split())).play(given.days)
    except (DemoError, ConfigurationError, DataError, ReleaseError) as error:
        say(f"demo: {message_of(error)}")
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    console = f"http://{settings.host}:{settings.console_port}"
    lines = [
        f"\n{given.days} days played in {time.monotonic() - began:.0f} s. Look at",
        "",
        f"  how it stands now         {console}/",
        f"  drift, run by run         {console}/drift",
        f"  models and verdicts       {console}/models",
        f"  what served when          {console}/promotions",
        f"  what the jobs did         {console}/jobs",
        f"  experiments               {settings.mlflow_address}",
    ]
    say("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
