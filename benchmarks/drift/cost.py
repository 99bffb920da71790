"""What a drift run costs: 100,000 new rows at once, and a window of 30 days by the rows in it.

The rows come into the store as inference's shipper writes them. What is timed is the job as it is deployed: a process
of its own environment, from its start to its end.
"""

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import matplotlib as mpl
import msgspec
import numpy as np
import process_cost
from drift.streams import Floats, Population
from matplotlib.figure import Figure
from sqlalchemy import Engine, insert, select, text
from support.postgres import postgres
from support.traffic import release_profiled

from beacon_core.data.database import migrate, open_store
from beacon_core.data.tables import actuals, job_runs
from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT, Settings, load_settings
from beacon_core.spool.record import Record
from beacon_prediction_log.database import Database

DOCUMENT, PICTURE = ROOT / "docs" / "explanation" / "drift.md", ROOT / "docs" / "figures" / "drift-cost.svg"
BEGIN, END = "<!-- cost -->", "<!-- end of cost -->"
NEW_ROWS = 100_000
WINDOWS = (10_000, 30_000, 100_000, 300_000, 1_000_000)
WINDOW_HOURS = 30 * 24
BATCH = 5_000
LABELLED = 100
"""One row in so many has an actual."""
LIMIT_SECONDS, LIMIT_MEGABYTES = 10.0, 400.0


class Cost(msgspec.Struct, frozen=True):
    """One run of the job: time and processor's time in seconds, memory at its height in MB, and its two stages."""

    seconds: float
    processor_seconds: float
    megabytes: float
    profile_seconds: float
    compare_seconds: float


def main() -> int:
    """Measure; exit 1 when a run of 100,000 new rows cost more than it may."""
    parser = argparse.ArgumentParser(prog="make drift-cost", description=__doc__)
    parser.add_argument("--rows", type=int, default=NEW_ROWS, help="new rows of the one run")
    parser.add_argument("--most", type=int, default=WINDOWS[-1], help="rows in the largest window")
    parser.add_argument("--no-write", action="store_true", help="leave docs/ alone")
    options = parser.parse_args()
    product = load_product(load_settings().product)
    at_once = {"SQLite": _at_once(product, "", options.rows)}
    with postgres() as cluster:
        at_once["PostgreSQL"] = _at_once(product, cluster.url, options.rows)
    for name, cost in at_once.items():
        print(f"{name}: {options.rows} new rows: {cost}", flush=True)
    windows = {rows: _window(product, rows) for rows in WINDOWS if rows <= options.most}
    if not options.no_write:
        _draw(windows)
        _publish(_told(options.rows, at_once, windows))
    return int(any(cost.seconds > LIMIT_SECONDS or cost.megabytes > LIMIT_MEGABYTES for cost in at_once.values()))


class Log:
    """A home whose prediction log is filled; the clock stands at the end of an hour."""

    def __init__(self, home: Path, product: Product, database_url: str = "") -> None:
        self.settings = Settings(home=home, product=product.file, database_url=database_url)
        self.product = product
        self.population = Population(product)
        self.random = np.random.default_rng(7)
        self.now = datetime.now(UTC).replace(minute=59, second=0, microsecond=0)
        self.pin: Pin = release_profiled(self.settings, product, self.population, self.random)
        self.database = Database(self.settings.database, product.feature_names)
        self.count = 0
        with self._engine() as engine:
            migrate(engine)

    def fill(self, rows: int, hours: int) -> None:
        """Log rows, evenly over the last hours; some of them get actuals."""
        step = timedelta(hours=hours) / rows
        begin = self.now.replace(minute=0) + timedelta(hours=1) - timedelta(hours=hours)
        labels = []
        for first in range(0, rows, BATCH):
            drawn = self.population.draw(self.random, min(BATCH, rows - first))
            records = [self._record(row, begin + step * (first + place)) for place, row in enumerate(drawn)]
            self.database.insert(records)
            labels += [self._label(record) for record in records[::LABELLED]]
        with self._engine() as engine, engine.begin() as connection:
            connection.execute(insert(actuals), labels)
            # As if every row had come when it was made: a run reads again what came a quarter of an hour before it.
            connection.execute(text("UPDATE predictions SET logged_at = time"))

    def run(self) -> Cost:
        """Run the job once, and see what it cost."""
        python = ROOT / ".venvs" / "drift-profiling" / "bin" / "python"
        environment = {"PATH": os.environ["PATH"], "BEACON_PRODUCT": str(self.settings.product)}
        environment |= {"BEACON_HOME": str(self.settings.home), "BEACON_DATABASE_URL": self.settings.database_url}
        job = [str(python), str(ROOT / "jobs" / "drift.py"), "--at", self.now.isoformat()]
        cost = process_cost.run(job, environment)
        stages = self._stages()
        return Cost(*cost, stages["profile"], stages["compare"])

    def close(self) -> None:
        """Close what was opened."""
        self.database.close()

    def _record(self, row: Floats, moment: datetime) -> Record:
        self.count += 1
        names = self.product.feature_names
        features = [self.population.value(name, float(number)) for name, number in zip(names, row, strict=False)]
        value = float(row[-1]) + self.random.normal(0, 2.5)
        found = [column for column, known in enumerate(features) if known is not None]
        from_store = None if self.count % 2 else {0: found}  # some ask by entity only
        return Record(
            ids=[f"{self.count * 2654435761 % 2**32:08x}{self.count:08x}"],  # in no order, as real ids are
            time=moment.timestamp(),
            names=names,
            features=[features],
            from_store=from_store,
            entities=[str(self.count % 506 + 1)],
            prediction=[value],
            low=[value - 5],
            high=[value + 5],
            version=self.pin.version,
            sha256=self.pin.sha256,
            latency=0.002,
            request_id=f"r{self.count}",
            trace_id="",
        )

    def _label(self, record: Record) -> dict[str, object]:
        moment = datetime.fromtimestamp(record.time, UTC)
        actual = {"prediction_id": record.ids[0], "value": record.prediction[0] + 1.0, "source": "benchmark"}
        return actual | {"observed_at": moment, "received_at": moment}

    def _stages(self) -> dict[str, float]:
        """Seconds of each stage's newest run."""
        query = select(job_runs.c.stage, job_runs.c.started_at, job_runs.c.ended_at).order_by(job_runs.c.id)
        with self._engine() as engine, engine.connect() as connection:
            return {stage: (ended - started).total_seconds() for stage, started, ended in connection.execute(query)}

    @contextlib.contextmanager
    def _engine(self) -> Iterator[Engine]:
        engine = open_store(self.settings.database)
        yield engine
        engine.dispose()


def _at_once(product: Product, url: str, rows: int) -> Cost:
    """All rows are new, of one hour and one model version: one profile."""
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(Log(Path(folder), product, url)) as log:
        log.fill(rows, 1)
        return log.run()


def _window(product: Product, rows: int) -> tuple[Cost, Cost]:
    """The first run, which reads all rows of 30 days, and the one after it, which reads those of the last hour."""
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(Log(Path(folder), product)) as log:
        log.fill(rows, WINDOW_HOURS)
        both = log.run(), log.run()
    print(f"{rows} rows in 30 days: all at once {both[0]}; afterwards {both[1]}", flush=True)
    return both


def _draw(windows: dict[int, tuple[Cost, Cost]]) -> None:
    mpl.rcParams["svg.hashsalt"] = "beacon"
    figure = Figure(figsize=(7.5, 4), layout="constrained", facecolor="white")
    axes = figure.subplots()
    rows = list(windows)
    first, later = ([both[place] for both in windows.values()] for place in (0, 1))
    axes.plot(rows, [cost.profile_seconds for cost in first], "o-", color="#d1495b", label="reading every row")
    axes.plot(rows, [cost.compare_seconds for cost in later], "o-", color="#0b6e4f", label="merging the profiles")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(rows, [f"{count:,}".replace(",", " ") for count in rows])
    low, high = axes.get_ylim()
    ticks = [step * 10.0**power for power in range(-2, 4) for step in (1, 2, 5)]
    axes.set_yticks([tick for tick in ticks if low <= tick <= high])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("rows in 30 days")
    axes.set_ylabel("seconds")
    axes.set_title("windows of 1, 7 and 30 days, judged")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(PICTURE, metadata={"Date": None})


def _told(rows: int, at_once: dict[str, Cost], windows: dict[int, tuple[Cost, Cost]]) -> str:
    lines = ["| one run | time | processor | memory |", "| --- | --- | --- | --- |"]
    for name, cost in at_once.items():
        lines.append(f"| {_number(rows)} new rows, {name} | {_spent(cost)} |")
    for count, (_, later) in windows.items():
        lines.append(f"| the next hour, {_number(count)} rows in 30 days | {_spent(later)} |")
    return "\n".join([*lines, "", f"Load average at the end: {os.getloadavg()[1]:.0f}, on {os.cpu_count()} cores."])


def _spent(cost: Cost) -> str:
    return f"{cost.seconds:.1f} s | {cost.processor_seconds:.1f} s | {cost.megabytes:.0f} MB"


def _number(count: int) -> str:
    return f"{count:,}".replace(",", " ")


def _publish(table: str) -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
