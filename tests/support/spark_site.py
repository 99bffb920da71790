"""A home with a log in a lake, on which a job runs as it is deployed, by one engine and by the other."""

import json
import os
import pickle
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import insert, update
from support.lakes import in_folder, opened, rows_in
from support.products import MIXED, SPEC
from support.traffic import EPOCH, HOUR, World

from beacon_core.data.database import migrate, open_store
from beacon_core.data.prediction_log import lake
from beacon_core.data.prediction_log.lake import LakePlace
from beacon_core.data.tables import actuals, predictions
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT

PRODUCTS = {"of numbers": SPEC, "with text and dates": MIXED}
JOB_SECONDS = 800
"""Spark starts a Java and workers first: some 30 s of a core, of which a busy machine may give little."""
HOURS = 3
LOCAL_OF = {"drift": "drift-profiling", "readers": "retraining", "score": "retraining"}
READERS = ROOT / "tests" / "system" / "spark" / "readers.py"
AT = (EPOCH + HOURS * HOUR).isoformat()
# Sketches are randomized, and the times of a run are its own.
WRITTEN = {
    "profiles": ("profiles", "model_version, hour, segment", {"id", "profiled_at", "bytes"}),
    "results": ("drift_results", "id", {"id", "created_at"}),
    "errors": ("model_error", "id", {"id", "created_at"}),
    "watermarks": ("watermarks", "job", {"id", "updated_at"}),
}
"""What drift writes: tables, their order, and columns that are left out."""


class Site:
    """A home with a log in a lake; each engine has a copy of its database."""

    def __init__(self, home: Path, product: Path, place: LakePlace) -> None:
        self.home = home
        self.product = product
        self.place = place

    def run(self, engine: str, job: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a job by an engine to its end, in its environment."""
        environment = "spark" if engine == "spark" else LOCAL_OF[job]
        script = READERS if job == "readers" else ROOT / "jobs" / f"{job}.py"
        database = self.home / f"{engine}.db"
        if not database.exists():
            with sqlite3.connect(self.home / "beacon.db") as one, sqlite3.connect(database) as other:
                one.backup(other)
        variables = {
            "BEACON_HOME": str(self.home), "BEACON_PRODUCT": str(self.product), "BEACON_ENGINE": engine,
            "BEACON_DATABASE_URL": f"sqlite:///{database}", "BEACON_LOG_STORES": "lake",
            "BEACON_LAKE": self.place.files, "BEACON_LAKE_CATALOG_URL": self.place.catalog,
        }  # fmt: skip
        given = {name: text for name, text in os.environ.items() if not name.startswith("BEACON_")}
        python = ROOT / ".venvs" / environment / "bin" / "python"
        return subprocess.run(
            [python, script, *arguments], env=given | variables | settings, capture_output=True, text=True,
            check=False, timeout=JOB_SECONDS, cwd=self.home,
        )  # fmt: skip

    def rows(self, engine: str, table: str, order: str, leave_out: set[str]) -> list[dict[str, Any]]:
        """The rows of a table that a job wrote."""
        with sqlite3.connect(self.home / f"{engine}.db") as connection:
            connection.row_factory = sqlite3.Row
            found = [dict(row) for row in connection.execute(f"SELECT * FROM {table} ORDER BY {order}")]
        return [{name: _read(value) for name, value in row.items() if name not in leave_out} for row in found]


def _read(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) and value.startswith("{") else value


def filled(home: Path, product: Path, place_in: Callable[[Path], LakePlace] = in_folder) -> Site:
    """A log of two versions over some hours: predictions by id and of entities, actuals of both, some corrected."""
    engine = open_store(f"sqlite:///{home / 'beacon.db'}")
    migrate(engine)
    engine.dispose()
    world = World(home, load_product(product))
    world.release("1")
    world.release("2")
    chance = np.random.default_rng(3)
    for hour in range(HOURS):
        for version, client in (("1", None), ("2", "shop")):
            drawn = world.draw(150)
            drawn[::5, hour] = np.nan
            names = world.log_rows(drawn + (hour == HOURS - 1), hour, version=version, client=client)
            world.report_actuals(names[::3], chance.normal(20, 3, len(names[::3])), hour + 0.5)
            world.report_actuals(names[::9], chance.normal(20, 3, len(names[::9])), hour + 0.6)
            of_entities(world, names[1::2], hour, chance)
    site = Site(home, product, place_in(home))
    with opened(*site.place) as found:
        rows = rows_in(world.engine)
        for first in range(0, len(rows), 200):  # several files
            lake.append_rows(found, rows[first : first + 200])
    world.engine.dispose()
    return site


def of_entities(world: World, names: list[str], hour: int, chance: np.random.Generator) -> None:
    """Make predictions ones of a few entities, and send actuals of these."""
    persons = [str(number) for number in chance.integers(1, 40, len(names))]
    told = []
    for minutes in (20, 40):
        moment = EPOCH + hour * HOUR + minutes * HOUR / 60
        told += [
            {"entity": person, "value": float(minutes), "observed_at": moment, "received_at": moment, "source": "t"}
            for person in sorted(set(persons))
        ]
    with world.engine.begin() as connection:
        for name, person in zip(names, persons, strict=True):
            connection.execute(update(predictions).where(predictions.c.id == name).values(entity=person))
        connection.execute(insert(actuals), told)


def both(site: Site, job: str, *arguments: str, **settings: str) -> None:
    """Run a job by one engine and by the other; `ENGINE` in an argument is the engine's name."""
    for engine in ("local", "spark"):
        done = site.run(engine, job, *(text.replace("ENGINE", engine) for text in arguments), **settings)
        assert done.returncode == 0, f"{engine}: {done.stderr[-3000:]}"


def check_same_drift(site: Site) -> None:
    """Both engines wrote the same, and something of every kind."""
    local, spark = ({name: site.rows(engine, *of) for name, of in WRITTEN.items()} for engine in ("local", "spark"))
    assert len(local["profiles"]) >= 2 * HOURS
    assert len(local["results"]) > 20
    assert sum(row["sums"]["labelled"] for row in local["profiles"] if not row["segment"]) > 50 * 2 * HOURS
    assert spark == local


def check_same_answers(site: Site) -> None:
    """Both engines gave the readers' script the same, in `ENGINE.pickle`."""
    local, spark = (pickle.loads((site.home / f"{engine}.pickle").read_bytes()) for engine in ("local", "spark"))
    assert (local.pop("engine"), spark.pop("engine")) == ("LocalEngine", "SparkEngine")
    sets = local.pop("training set"), spark.pop("training set")
    assert len(sets[0]) > 2 * 50 * HOURS, "some labels are of entities"
    pd.testing.assert_frame_equal(sets[1], sets[0], check_exact=True)
    assert local["count"] == (2 * 150 * HOURS, 150 * HOURS)
    assert spark == local
