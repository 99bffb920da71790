"""Erasure: after `beacon forget`, no byte below the home folder names the entity, whatever was at work or was killed.

A whole home of a made-up product with keys: a log with a spool that a server appends to, actuals, drift profiles, both
feature stores, the pipeline's files with DVC's cache and remote, and a real MLflow with two versions.
"""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from mlflow.tracking import MlflowClient
from sqlalchemy import Engine, func, insert, select
from support.forks import Forks, forks
from support.mlflow import mlflow_server
from support.settings import Settings
from support.whole_log import WholeLog

from beacon_core.commands.forget import GROUP
from beacon_core.data import erasure, profiles, removals, watermarks
from beacon_core.data.database import migrate, open_store
from beacon_core.data.erasure import Subject
from beacon_core.data.prediction_log.partitions import Partition
from beacon_core.data.removals import Removal
from beacon_core.data.run_lock import only_one
from beacon_core.data.tables import actuals, data_removals, predictions
from beacon_core.data.tables import profiles as profiles_table
from beacon_core.data.watermarks import Watermark
from beacon_core.feature_store import repo
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT
from beacon_core.sources.table import load_table
from beacon_core.spool.record import Record
from beacon_retraining.data.fetch import RawFileInfo
from beacon_retraining.data.history import base_rows
from beacon_retraining.data.offline import write_offline
from beacon_retraining.data.validate import validate_table
from beacon_retraining.files import write_json
from beacon_retraining.pipeline.dvc_objects import ObjectStorage
from beacon_retraining.registry.erasing import TAG

pytestmark = pytest.mark.slow

MIXED = ROOT / "tests" / "products" / "mixed"
FORGET = ROOT / "jobs" / "forget.py"
PERSON, NAMESAKE, OTHER = "zq-person-77", "zq-person-777", "A-0003"
NOW = datetime.now(UTC)
HOUR = NOW.replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
WAIT_SECONDS = 180.0
SHA = "a" * 64


class Home(NamedTuple):
    """A home full of rows, and the log of the server that is at work on it."""

    settings: Settings
    product: Any
    engine: Engine
    log: WholeLog
    mlflow: MlflowClient
    runs: tuple[str, ...]
    job: Forks


def record(name: str, *entities: str | None) -> Record:
    """A request of so many rows; their ids tell whose they are only to the test."""
    rows = len(entities)
    ids = [f"{name}-{row}" for row in range(rows)]
    features: list[list[float | bool | str | None]] = [[100.5, "green"] for _ in entities]
    return Record(
        ids=ids, time=HOUR.timestamp() + 60, names=("area", "colour"), features=features, prediction=[1.0] * rows,
        low=[0.0] * rows, high=[2.0] * rows, version="1", sha256=SHA, latency=0.01, request_id=name, trace_id="t",
        from_store={0: [1]}, entities=list(entities), input_digests=["d"] * rows,
    )  # fmt: skip


def start_log(settings: Settings, order: tuple[str, ...]) -> WholeLog:
    log = WholeLog(settings.home, order)
    log.start()
    return log


def count(engine: Engine, table: Any, *conditions: Any) -> int:
    with engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(table).where(*conditions)).scalar_one())


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def product_folder(folder: Path) -> Path:
    """The product, where two of the keys are the persons'."""
    shutil.copytree(MIXED, folder)
    table = folder / "orders.csv"
    table.write_text(table.read_text().replace("A-0001", PERSON).replace("A-0002", NAMESAKE))
    return folder / "product.yaml"


def fill_training(settings: Settings, product: Any) -> None:
    """The feature stores by the product's own code, and the files of a run with their copies in cache and remote."""
    table = load_table(product).table
    write_offline(settings, product, validate_table(table, product), NOW)
    repo.apply(settings, product)
    repo.materialize(settings, product)
    pipeline = settings.home / "pipeline"
    (pipeline / "raw").mkdir(parents=True)
    pq.write_table(table, pipeline / "raw" / "table.parquet")
    content = (pipeline / "raw" / "table.parquet").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    write_json(pipeline / "raw" / "source.json", RawFileInfo("orders.csv", digest, len(content)))
    base_rows(settings, product).to_parquet(pipeline / "dataset.parquet")
    level = pa.table({"order_id": pa.array([PERSON, OTHER]).dictionary_encode(), "prediction_id": ["p-0", "x"]})
    pq.write_table(level, pipeline / "labels.parquet")
    for root in (pipeline / ".dvc" / "cache", settings.home / "dvc-remote"):
        storage = ObjectStorage(root)
        for file in (pipeline / "dataset.parquet", pipeline / "raw" / "table.parquet"):
            storage.write(storage.path(md5(file.read_bytes())), file.read_bytes())
        listed = json.dumps([{"md5": md5(content), "relpath": "table.parquet"}]).encode()
        storage.write(storage.path(f"{md5(listed)}.dir"), listed)
        storage.write(storage.path(md5(b"{}")), b"{}")


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def fill_registry(client: MlflowClient, name: str, dataset: Path) -> tuple[str, ...]:
    """Two versions: one trained on the dataset, one on a dataset without the person."""
    experiment = client.create_experiment(name)
    client.create_registered_model(name)
    runs = []
    table = pq.read_table(dataset)
    for rows in (table, table.filter(pc.field("order_id") != PERSON)):
        file = dataset.parent / "upload" / "dataset.parquet"
        file.parent.mkdir(exist_ok=True)
        pq.write_table(rows, file)
        run = client.create_run(experiment).info
        client.log_artifact(run.run_id, str(file), "data")
        client.create_model_version(name, f"{run.artifact_uri}/package", run.run_id, await_creation_for=0)
        runs.append(run.run_id)
        shutil.rmtree(file.parent)
    return tuple(runs)


def fill_store(engine: Engine, log: WholeLog) -> None:
    """Predictions by way of the spool, a batch and single ones; actuals by id and by entity; profiles."""
    for each in (
        record("first", PERSON), record("mine", PERSON), record("batch", OTHER, PERSON, NAMESAKE, None),
        record("other", OTHER), record("again", PERSON, PERSON), record("namesake", NAMESAKE), record("last", PERSON),
    ):  # fmt: skip
        assert log.append(each)
    wait_for(lambda: count(engine, predictions) == 11)
    when = {"observed_at": NOW, "received_at": NOW, "source": "test", "value": 1.0}
    with engine.begin() as connection:
        for told in (
            {"prediction_id": "mine-0"},
            {"entity": PERSON},
            {"entity": NAMESAKE},
            {"prediction_id": "other-0"},
        ):
            connection.execute(insert(actuals), {"prediction_id": None, "entity": None} | told | when)
        watermarks.write(connection, "profile", Watermark(NOW + timedelta(hours=1), NOW))
    for hour, segment in ((HOUR, ""), (HOUR.replace(hour=0), "day"), (HOUR - timedelta(hours=30), "")):
        content = profiles.ProfileContent("d", "b", 0, 1.0, {})
        profiles.put(engine, Partition(hour, "1"), segment, b"sketch", 1, content)


@pytest.fixture(scope="module")
def mlflow_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    home = tmp_path_factory.mktemp("mlflow")
    with mlflow_server(home) as url:
        yield home, url


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """The job, with what it imports of MLflow and Feast."""
    modules = ["beacon_core.commands.forget", *(each.module for each in entry_points(group=GROUP))]
    with forks(FORGET, modules, tmp_path_factory.mktemp("job")) as made:
        yield made


@pytest.fixture
def home(tmp_path: Path, mlflow_home: tuple[Path, str], job: Forks, request: pytest.FixtureRequest) -> Iterator[Home]:
    file = product_folder(tmp_path / "product")
    name = f"mixed-{tmp_path.name.rsplit('_', 1)[-1]}{len(request.node.name)}"
    file.write_text(file.read_text().replace("name: mixed", f"name: {name}", 1))
    product = load_product(file)
    home = tmp_path / "home"
    settings = Settings(home=home, product=file, mlflow_url=mlflow_home[1])
    engine = open_store(settings.database)
    migrate(engine)
    fill_training(settings, product)
    client = MlflowClient(mlflow_home[1])
    runs = fill_registry(client, product.name, home / "pipeline" / "dataset.parquet")
    log = start_log(settings, product.feature_names)
    fill_store(engine, log)
    yield Home(settings, product, engine, log, client, runs, job)
    with contextlib.suppress(OSError):  # the test may have stopped it
        log.stop()
    engine.dispose()


def environment_of(home: Home) -> dict[str, str]:
    settings = home.settings
    variables = {
        "BEACON_HOME": settings.home,
        "BEACON_PRODUCT": settings.product,
        "BEACON_MLFLOW_URL": settings.mlflow_url,
    }
    return os.environ | {name: str(value) for name, value in variables.items()}


def forget(home: Home, *arguments: str, status: int = 0, **environment: str) -> str:
    given = ("--person", "Ann", "--reason", "asked by letter", *arguments)
    done = home.job.run(given, environment_of(home) | environment, ROOT)
    output = done.stdout + done.stderr
    assert done.returncode == status, output
    return output


def files_naming(folder: Path, name: str) -> list[str]:
    """The files of which some bytes, or a cell of a table, are the name; the namesake does not count.

    Of a copy by another process: one that opens and closes a file of SQLite here drops the locks of this process.
    """
    with tempfile.TemporaryDirectory() as copy:
        subprocess.run(["cp", "-r", f"{folder}/.", copy], check=True)
        files = sorted(path for path in Path(copy).rglob("*") if path.is_file())
        return [str(file.relative_to(copy)) for file in files if _names(file, name)]


def _names(file: Path, name: str) -> bool:
    content = file.read_bytes().replace(NAMESAKE.encode(), b"")
    cells: set[str] = set()
    if content.startswith(b"PAR1"):
        for column in pq.read_table(file).itercolumns():
            plain = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
            cells |= set(pc.cast(plain, pa.string()).to_pylist())
    return name.encode() in content or name in cells


def in_registry(home: Home, mlflow_home: tuple[Path, str]) -> list[str]:
    """The files of this home's runs in MLflow that name the person."""
    return [file for file in files_naming(mlflow_home[0], PERSON) if any(run in file for run in home.runs)]


def test_no_byte_of_an_erased_entity_is_left(
    home: Home, mlflow_home: tuple[Path, str], caplog: pytest.LogCaptureFixture
) -> None:
    before = files_naming(home.settings.home, PERSON)
    places = ("beacon.db", "spool/", "data/features.parquet", "data/targets.parquet", "online.db", "pipeline/labels")
    assert all(any(place in file for file in before) for place in (*places, ".dvc/cache", "dvc-remote")), before
    assert in_registry(home, mlflow_home)

    counted = forget(home, "--entity", PERSON, "--dry-run")
    assert "predictions: 6 would go" in counted
    kept = {file.removesuffix("-wal") for file in files_naming(home.settings.home, PERSON)}
    assert kept == {file.removesuffix("-wal") for file in before}  # SQLite moves rows from one to the other
    assert count(home.engine, data_removals) == 0

    output = forget(home, "--entity", PERSON)
    for line in ("spool: 6 erased", "predictions: 6 erased", "actuals: 2 erased", "features.parquet: 1 erased"):
        assert line in output, output
    assert "remains: models: version 1: trained on its rows" in output
    assert "version 2" not in output
    assert "remains: source: orders.csv had 1 row of it when it was last read: remove them there, or" in output
    assert files_naming(home.settings.home, PERSON) == []
    assert in_registry(home, mlflow_home) == []

    left = {"batch-0", "batch-2", "batch-3", "other-0", "namesake-0"}
    with home.engine.connect() as connection:
        assert set(connection.execute(select(predictions.c.id)).scalars()) == left
        assert set(connection.execute(select(actuals.c.entity)).scalars()) == {NAMESAKE, None}
        done, begun = removals.newest(connection)
        mark = watermarks.read(connection, "profile")
    assert (begun.outcome, done.outcome, begun.run) == ("begun", "done", done.run)
    assert (done.kind, done.actor, done.reason) == ("erasure", "Ann", "asked by letter")
    assert done.removed["predictions"] == 6
    assert done.remains["models"][0].startswith("version 1:")
    assert count(home.engine, profiles_table) == 1  # those of other days stay
    assert mark.logged_at is not None
    assert mark.logged_at <= datetime.now(UTC)  # so that drift reads the hour again
    tags = [home.mlflow.get_model_version(home.product.name, number).tags for number in ("1", "2")]
    assert [TAG in each for each in tags] == [True, False]

    # The server goes on, and so does another one after it: nothing comes back.
    assert home.log.append(record("after", OTHER))
    wait_for(lambda: count(home.engine, predictions) == 6)
    home.log.stop()
    again = start_log(home.settings, home.product.feature_names)
    assert "the spool has lines" not in caplog.text
    assert again.find(["batch-2"])["batch-2"].entities == [NAMESAKE]
    assert again.find(["mine-0"]) == {}
    again.stop()
    assert count(home.engine, predictions) == 6
    assert not (home.settings.spool_dir / "quarantine.txt").exists()
    assert files_naming(home.settings.home, PERSON) == []
    rows = repo.features_at(
        home.settings, home.product, pq.read_table(home.settings.home / "data" / "targets.parquet"), as_known=False
    )
    assert rows.num_rows == 299

    assert "was erased before" in forget(home, "--entity", PERSON)
    assert count(home.engine, data_removals) == 2


def test_predictions_are_erased_by_their_ids(home: Home) -> None:
    output = forget(home, "--prediction", "mine-0", "--prediction", "batch-1")
    assert "predictions: 2 erased" in output
    assert "actuals: 1 erased" in output
    with home.engine.connect() as connection:
        ids = set(connection.execute(select(predictions.c.id)).scalars())
    assert len(ids) == 9
    assert not {"mine-0", "batch-1"} & ids
    assert files_naming(home.settings.home, "batch-1") == []
    assert "data/features.parquet" in files_naming(home.settings.home, PERSON)


REFUSED = {
    "unknown": (("--entity", "nobody"), "nothing was found: no row of it is in any place"),
    "an empty key": (("--entity", ""), ", order_id must be 1 to 128 printable characters"),
    "an empty key of a product": (("--entity", ""), "--entity: of mixed-"),
    "an id that is none": (("--prediction", "a b"), "--prediction: 'a b' is no id of a prediction"),
    "a reason that names it": (("--entity", PERSON, "--reason", f"{PERSON} asked"), "--reason: must not name"),
    "a reason with it in a word": (("--entity", PERSON, "--reason", f"ticket_{PERSON}"), "--reason: must not name"),
    "a blank reason": (("--entity", PERSON, "--reason", " "), "--reason: must not be empty"),
}


def test_what_cannot_be_erased_is_refused_in_a_line(home: Home) -> None:
    for arguments, rule in REFUSED.values():
        output = forget(home, *arguments, status=1)
        assert rule in output
        assert len(output.splitlines()) == 1, output
    assert count(home.engine, data_removals) == 0
    assert count(home.engine, predictions) == 11


def test_while_drift_profiling_is_at_work_nothing_is_erased(home: Home) -> None:
    """It would write profiles of the rows that it has read already."""
    with only_one(home.engine, home.settings.home / "run", profiles.LOCK):
        assert "drift profiling is at work" in forget(home, "--entity", PERSON, status=75)
    assert count(home.engine, data_removals) == 0
    assert count(home.engine, predictions) == 11


@pytest.mark.parametrize("moment", [0.0, 0.3])
def test_an_erasure_that_was_killed_is_ended_by_a_repeat(
    home: Home, mlflow_home: tuple[Path, str], moment: float
) -> None:
    command = [sys.executable, FORGET, "--person", "Ann", "--reason", "asked by letter", "--entity", PERSON]
    killed = subprocess.Popen(command, env=environment_of(home), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    wait_for(lambda: killed.poll() is not None or count(home.engine, data_removals) == 1)
    time.sleep(moment)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert count(home.engine, data_removals) in ({1} if moment == 0 else {1, 2})
    forget(home, "--entity", PERSON)
    with home.engine.connect() as connection:
        rows = removals.newest(connection)
    # On a quick machine it may be done before it is killed: then the repeat is a run of its own.
    assert [row.outcome for row in rows] in (["done", "begun"], ["done", "begun", "done", "begun"])
    assert len({row.run for row in rows}) == len(rows) // 2
    assert files_naming(home.settings.home, PERSON) == []
    assert in_registry(home, mlflow_home) == []


def test_without_mlflow_the_rest_goes_and_a_repeat_ends_it(home: Home, mlflow_home: tuple[Path, str]) -> None:
    output = forget(
        home, "--entity", PERSON, status=75, BEACON_MLFLOW_URL="http://127.0.0.1:9", MLFLOW_HTTP_REQUEST_MAX_RETRIES="0"
    )
    assert "registry: MLflow at http://127.0.0.1:9 does not answer" in output
    assert "predictions: 6 erased" in output
    assert files_naming(home.settings.home, PERSON) == []
    assert in_registry(home, mlflow_home)
    output = forget(home, "--entity", PERSON)
    assert "rows beside models: 1 erased" in output
    assert in_registry(home, mlflow_home) == []


def late_row(name: str, entity: str | None, moment: datetime) -> dict[str, Any]:
    return {
        "id": name, "time": moment, "entity": entity, "features": {"area": 1.0}, "imputed": [], "out_of_range": [],
        "prediction": 1.0, "low": 0.0, "high": 2.0, "model_version": "1", "model_sha256": SHA,
        "latency_seconds": 0.01, "request_id": "q",
    }  # fmt: skip


def test_rows_that_a_spool_ships_late_are_erased_by_the_next_run(engine: Engine) -> None:
    now = datetime.now(UTC)
    for run, kind, name in (("one", "entity", PERSON), ("two", "ids", "by-id")):
        subject = {kind: removals.digests_of([name], run)}
        with engine.begin() as connection:
            removals.append(connection, Removal(run, now, "mixed", "erasure", "begun", "Ann", "so", subject))
    before, after = now - timedelta(minutes=1), now + timedelta(minutes=1)
    with engine.begin() as connection:
        for row in (
            late_row("late", PERSON, before), late_row("later", PERSON, after), late_row("other", OTHER, before),
            late_row("by-id", None, before), late_row("none", None, before),
        ):  # fmt: skip
            connection.execute(insert(predictions), row)
    assert erasure.erase_late_rows(engine, "another", now) == 0
    assert erasure.erase_late_rows(engine, "mixed", now) == 2
    assert erasure.erase_late_rows(engine, "mixed", now) == 0
    with engine.connect() as connection:
        assert set(connection.execute(select(predictions.c.id)).scalars()) == {"later", "other", "none"}


def test_the_store_erases_an_entity_in_steps(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure, "STEP_ROWS", 3)
    with engine.begin() as connection:
        for number in range(8):
            connection.execute(insert(predictions), late_row(f"p{number}", PERSON, HOUR))
            told = {"prediction_id": f"p{number}", "value": 1.0, "source": "test"}
            connection.execute(insert(actuals), told | {"observed_at": NOW, "received_at": NOW})
        connection.execute(insert(predictions), late_row("other", NAMESAKE, HOUR))
    subject = Subject(entity=PERSON)
    assert erasure.count(engine, subject) == erasure.ErasedRows(8, 8)
    assert erasure.erase(engine, subject) == erasure.ErasedRows(8, 8, 0)
    assert erasure.erase(engine, subject) == erasure.ErasedRows()
    assert count(engine, predictions) == 1
    assert count(engine, actuals) == 0
