"""The life of one product, from its table on: what a person types and what clients send."""

import contextlib
import http.client
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import select
from support.waiting import until
from system.e2e_laptop.beacon_run import Run, ports_of_a_run
from system.products.tables import Table

from beacon_core.data import drift_results
from beacon_core.data.database import open_store
from beacon_core.data.tables import predictions
from beacon_core.model_package.release import read_release
from beacon_core.platform import clock
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT
from beacon_laptop.demo import expected_error
from beacon_laptop.simulated_traffic import CHANGE_DAY, SimulatedRow, SimulatedTraffic

BATCH_ROWS = 100
# Phases as short as a test needs: few requests decide them, and no latency does, as other suites keep the machine busy.
SHORT = {
    "rollout": {"phase_seconds": 5, "watch_seconds": 5, "min_requests": 20, "min_p99_rise_seconds": 30.0},
    "promotion": {"min_rows": 100},
    "drift": {"windows_days": [1, 7, 30], "min_rows": 150},
}
DRIFT_EVERY = {"BEACON_DRIFT_EVERY_SECONDS": "86400"}
"""The tests run the jobs themselves."""


def beacon(job: str, *arguments: str) -> str:
    """Run a job of the checkout to its good end; its output."""
    command = [sys.executable, str(ROOT / "jobs" / f"{job}.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Life:
    """One product: its files, its run, and its clients."""

    def __init__(self, table: Table, folder: Path) -> None:
        self.table = table
        self.folder = folder / "products" / table.name
        data = table.write(folder)
        began = time.monotonic()
        options = ("--data", str(data), "--target", table.target, *table.options)
        self.proposed = beacon("new", table.name, *options, "--products", str(self.folder.parent))
        self.checked = beacon("check", str(self.folder))
        self.file = self.folder / "product.yaml"
        self._shorten()
        self.product = load_product(self.file)
        self.run = Run(folder / "home", ports_of_a_run() | DRIFT_EVERY, product=self.file)
        self.began = began
        self._traffic: SimulatedTraffic | None = None

    def _shorten(self) -> None:
        file = self.folder / "policy.yaml"
        policy = yaml.safe_load(file.read_text()) or {}
        for section, limits in SHORT.items():
            policy[section] = policy.get(section, {}) | limits
        file.write_text(yaml.safe_dump(policy))

    @property
    def traffic(self) -> SimulatedTraffic:
        """Rows of the table; from `CHANGE_DAY` on they drift."""
        if self._traffic is None:
            error = expected_error(self.run.settings)
            self._traffic = SimulatedTraffic(self.product, seed=3, home=self.run.home, expected_error=error)
        return self._traffic

    def request(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status and JSON of one request to inference."""
        connection = http.client.HTTPConnection("127.0.0.1", self.run.settings.inference_port, timeout=60)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
            return answer.status, json.loads(content) if content else None
        finally:
            connection.close()

    def good(self, path: str, body: object) -> Any:
        """The JSON of a request that is answered with 200."""
        status, answer = self.request("POST", path, body)
        assert status < 300, (status, answer, body)
        return answer

    def predict(self, rows: list[SimulatedRow]) -> list[dict[str, Any]]:
        """Predictions by features."""
        found: list[dict[str, Any]] = []
        for first in range(0, len(rows), BATCH_ROWS):
            part = rows[first : first + BATCH_ROWS]
            answer = self.good("/v1/predict/batch", {"rows": [{"features": row.features} for row in part]})
            found += answer["predictions"]
        return found

    def report(self, rows: list[SimulatedRow], predicted: list[dict[str, Any]]) -> None:
        """Send the actuals of predictions, by their ids."""
        items = [
            {"prediction_id": one["prediction_id"], "value": row.actual}
            for row, one in zip(rows, predicted, strict=True)
        ]
        for first in range(0, len(items), BATCH_ROWS):
            self.good("/v1/actuals", {"actuals": items[first : first + BATCH_ROWS]})

    def live(self, day: int, count: int) -> list[dict[str, Any]]:
        """A day of predictions and actuals; the clock of the state goes to its end."""
        clock.set_shift(self.run.home, timedelta(days=day))
        time.sleep(clock.POLL_SECONDS + 0.3)
        rows = self.traffic.rows(day, count)
        predicted = self.predict(rows)
        self.report(rows, predicted)
        self.wait_for_log(predicted)
        return predicted

    def wait_for_log(self, predicted: list[dict[str, Any]]) -> None:
        """Until the store has these predictions."""
        ids = [one["prediction_id"] for one in predicted]
        engine = open_store(self.run.settings.database)

        def is_shipped() -> bool:
            with engine.connect() as connection:
                found = connection.execute(select(predictions.c.id).where(predictions.c.id.in_(ids))).all()
            return len(found) == len(ids)

        until(is_shipped, "the log is shipped", 120)
        engine.dispose()

    def drift_state(self) -> str:
        """Run drift once; the state that it found."""
        self.wait_for_first_jobs()
        self.run.do("drift")
        engine = open_store(self.run.settings.database)
        with engine.connect() as connection:
            newest = drift_results.newest_run(connection)
        engine.dispose()
        assert newest is not None
        return newest.state

    def wait_for_first_jobs(self) -> None:
        """Until the run's own jobs, which begin a minute after its start, have ended.

        Of an alarm they would start a retraining, beside the test's.
        """
        log = self.run.home / "logs" / "schedule.log"

        def are_over() -> bool:
            lines = map(json.loads, re.findall(r"^\{.*\}$", log.read_text(), re.MULTILINE))
            return any((line["service"], line["message"]) == ("promote", "job ended") for line in lines)

        until(are_over, "the first jobs of the run are over", 600)

    def version(self) -> str:
        """The version that is released."""
        return read_release(self.run.settings.release_file).model.version

    def wait_for_version(self, version: str, seconds: float) -> None:
        """Until this version is released; else the promotions say why it is not."""
        try:
            until(lambda: self.version() == version, f"version {version} is released", seconds)
        except AssertionError as error:
            error.add_note(self.run.do("served") + (self.run.home / "logs" / "promoter.log").read_text()[-4000:])
            raise

    @contextlib.contextmanager
    def users(self) -> Iterator[list[int]]:
        """Clients that keep asking; the statuses of their answers."""
        statuses: list[int] = []
        end = threading.Event()
        rows = self.traffic.rows(CHANGE_DAY, 200)

        def ask() -> None:
            number = 0
            while not end.wait(0.02):
                number += 1
                body = {"features": rows[number % len(rows)].features}
                statuses.append(self.request("POST", "/v1/predict", body)[0])

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            yield statuses
        finally:
            end.set()
            thread.join(60)
