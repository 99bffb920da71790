"""BEACON_ENGINE=spark gives the same drift results, training set, counts and scores as local, row for row.

Each is the job as it is deployed, a process of its own; Spark is on two cores of this machine.
"""

import json
import os
import pickle
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sqlalchemy import insert, update
from support.lakes import in_folder, opened, rows_in
from support.products import MIXED, SPEC
from support.traffic import EPOCH, HOUR, World

from beacon_core.data.database import migrate, open_store
from beacon_core.data.prediction_log import lake
from beacon_core.data.tables import actuals, predictions
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT

pytestmark = pytest.mark.spark
PRODUCTS = {"of numbers": SPEC, "with text and dates": MIXED}
# Sketches are randomized, and the times of a run are its own.
WRITTEN = {
    "profiles": ("profiles", "model_version, hour, segment", {"id", "profiled_at", "bytes"}),
    "results": ("drift_results", "id", {"id", "created_at"}),
    "errors": ("model_error", "id", {"id", "created_at"}),
    "watermarks": ("watermarks", "job", {"id", "updated_at"}),
}
JOB_SECONDS = 800
"""Spark starts a Java and workers first: some 30 s of a core, of which a busy machine may give little."""
HOURS = 3
ROWS_OF_EACH = 20_000
"""Of a table: several blocks."""
LOCAL_OF = {"drift": "drift-profiling", "readers": "retraining", "score": "retraining"}
AT = (EPOCH + HOURS * HOUR).isoformat()


class Site:
    """A home with a log in a lake; each engine has a copy of its database."""

    def __init__(self, home: Path, product: Path) -> None:
        self.home = home
        self.product = product
        self.place = in_folder(home)

    def run(self, engine: str, job: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a job by an engine to its end, in its environment."""
        environment = "spark" if engine == "spark" else LOCAL_OF[job]
        script = Path(__file__).with_name("readers.py") if job == "readers" else ROOT / "jobs" / f"{job}.py"
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


def filled(home: Path, product: Path) -> Site:
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
    site = Site(home, product)
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


@pytest.fixture(scope="module", params=PRODUCTS)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Site:
    return filled(tmp_path_factory.mktemp("spark"), PRODUCTS[request.param])


def both(site: Site, job: str, *arguments: str) -> None:
    for engine in ("local", "spark"):
        done = site.run(engine, job, *(text.replace("ENGINE", engine) for text in arguments))
        assert done.returncode == 0, f"{engine}: {done.stderr[-3000:]}"


def test_drift_is_the_same(site: Site) -> None:
    both(site, "drift", "--at", AT, "--segments")
    local, spark = ({name: site.rows(engine, *of) for name, of in WRITTEN.items()} for engine in ("local", "spark"))
    assert len(local["profiles"]) >= 2 * HOURS
    assert len(local["results"]) > 20
    assert sum(row["sums"]["labelled"] for row in local["profiles"] if not row["segment"]) > 50 * 2 * HOURS
    assert spark == local


def test_the_training_set_and_all_counts_are_the_same(site: Site) -> None:
    both(site, "readers", str(site.home / "ENGINE.pickle"))
    local, spark = (pickle.loads((site.home / f"{engine}.pickle").read_bytes()) for engine in ("local", "spark"))
    assert (local.pop("engine"), spark.pop("engine")) == ("LocalEngine", "SparkEngine")
    sets = local.pop("training set"), spark.pop("training set")
    assert len(sets[0]) > 2 * 50 * HOURS, "some labels are of entities"
    pd.testing.assert_frame_equal(sets[1], sets[0], check_exact=True)
    assert local["count"] == (2 * 150 * HOURS, 150 * HOURS)
    assert spark == local


def test_scores_are_the_same(site: Site) -> None:
    product = load_product(site.product)
    table = site.home / "table.csv"
    example = {feature.name: feature.example for feature in product.features if feature.lag is None}
    some = [{name: None if name == gap else value for name, value in example.items()} for gap in example]
    pd.DataFrame(some * ROWS_OF_EACH).to_csv(table, index=False)
    is_lake = site.product == MIXED
    given = ["lake:", "--until", AT, "--bad-rows", "mark"] if is_lake else [str(table)]
    both(site, "score", *given, "--out", str(site.home / "ENGINE.parquet"))
    local, spark = (pq.read_table(site.home / f"{engine}.parquet") for engine in ("local", "spark"))
    assert len(local) == (2 * 150 * HOURS if is_lake else ROWS_OF_EACH * len(some))
    assert local["imputed"].null_count < len(local)
    assert spark.equals(local)
