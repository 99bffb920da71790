"""Backups: what a laptop and a cluster keep comes back as it was, whoever writes meanwhile and whatever is killed."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, insert, select, text
from sqlalchemy.exc import DBAPIError
from support.mlflow import mlflow_server
from support.postgres import Postgres, older_programs, postgres_with_roles
from support.s3 import s3_bucket
from support.settings import Settings

from beacon_core.data import ledger
from beacon_core.data.database import migrate, open_store
from beacon_core.data.roles import GRANTS, MLFLOW, OWNER
from beacon_core.data.tables import actuals, metadata, predictions
from beacon_core.domain.ledger_entries import Entry
from beacon_core.domain.pins import Pin
from beacon_core.platform.settings import ROOT
from beacon_retraining.backup import artifacts, home
from beacon_retraining.backup.backup import back_up
from beacon_retraining.backup.errors import BackupError, BackupPlaceError
from beacon_retraining.backup.listing import BackupList
from beacon_retraining.backup.place import LIST, BackupPlace, stamp
from beacon_retraining.backup.restore import fetch, finish

pytestmark = pytest.mark.slow

NOW = datetime(2026, 12, 1, 0, 20, tzinfo=UTC)
SCRIPTS = ROOT / "charts" / "platform" / "files"
PIN = Pin("cars", "1", "a" * 64)


def prediction(number: int) -> dict[str, Any]:
    return {
        "id": f"p{number:06d}", "time": NOW, "features": {"area": 1.0}, "imputed": [], "out_of_range": [],
        "prediction": 1.0, "low": 0.0, "high": 2.0, "model_version": "1", "model_sha256": "a" * 64,
        "latency_seconds": 0.01, "request_id": "q",
    }  # fmt: skip


def fill(engine: Engine, count: int = 50) -> None:
    """Predictions with actuals, and a model in service by the ledger."""
    with engine.begin() as connection:
        connection.execute(insert(predictions), [prediction(number) for number in range(count)])
        told = {"value": 1.5, "observed_at": NOW, "received_at": NOW, "source": "test"}
        connection.execute(insert(actuals), [{"prediction_id": f"p{n:06d}", **told} for n in range(count // 2)])
    row = Entry(
        key="k", run="r", moment=NOW, product="cars", target="t", actor="a", action="promote", step="adopt",
        outcome="done", after=PIN, serving=(PIN,),
    )  # fmt: skip
    ledger.append_all(engine, [row])


def rows_of(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    """All rows by table, but for the runs of jobs, of which a backup and a restore are some."""
    with engine.connect() as connection:
        return {
            table.name: sorted(map(tuple, connection.execute(select(table))), key=repr)
            for table in metadata.sorted_tables
            if table.name != "job_runs"
        }


@pytest.fixture
def state(tmp_path: Path) -> Settings:
    """A laptop's state: a database, a spool, a release, and what no backup holds."""
    folder = tmp_path / "home"
    engine = open_store(f"sqlite:///{folder / 'beacon.db'}")
    migrate(engine)
    fill(engine)
    engine.dispose()
    for name, content in (
        ("spool/0001.log", "a record"),
        ("release.json", "{}"),
        ("models/cars/1/model.onnx", "bytes"),
        ("logs/inference.log", "a line"),
        ("run/drift.lock", ""),
    ):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return Settings(home=folder)


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BackupPlace]:
    if request.param == "folder":
        yield BackupPlace(str(tmp_path / "backups"))
        return
    with s3_bucket("backups") as address:
        yield BackupPlace(f"{address}/{tmp_path.name}")  # moto keeps what other tests left


def backed_up(settings: Settings, place: BackupPlace, keep: int = 7) -> BackupList:
    engine = open_store(settings.database)
    try:
        return back_up(engine, settings, place, keep, None, mlflow=True)
    finally:
        engine.dispose()


def test_a_laptops_state_comes_back_as_it_was(state: Settings, place: BackupPlace, tmp_path: Path) -> None:
    before = open_store(state.database)
    wanted = rows_of(before)
    made = backed_up(state, place)
    assert place.names() == [made.name]
    there = Settings(home=tmp_path / "there")
    assert fetch(there, place, "", None, replace=False).name == made.name
    engine = open_store(there.database)
    finish(engine, there, None)
    assert rows_of(engine) == wanted
    kept = [name for name in home.kept_of(there.home) if not name.startswith("beacon.db-")]
    assert kept == ["beacon.db", "models", "release.json", "spool"]
    assert (there.home / "models/cars/1/model.onnx").read_text() == "bytes"
    assert not (there.home / "logs").exists()
    assert list((there.home / "run").iterdir()) == []
    # Neither run is one that never ends.
    with engine.connect() as connection:
        states = connection.execute(text("SELECT job, state FROM job_runs")).all()
    assert states == [("restore", "done")]
    with before.connect() as connection:
        assert connection.execute(text("SELECT job, state FROM job_runs")).all() == [("backup", "done")]
    engine.dispose()
    with pytest.raises(BackupError, match=r"there is not empty \(beacon.db"):
        fetch(there, place, "", None, replace=False)
    assert fetch(there, place, made.name, None, replace=True).name == made.name


def test_what_was_written_before_it_began_is_in_it_while_others_write(state: Settings, tmp_path: Path) -> None:
    place, ended = BackupPlace(str(tmp_path / "backups")), threading.Event()
    engine = open_store(state.database)
    written = [50]

    def write() -> None:
        while not ended.is_set():
            with engine.begin() as connection:
                connection.execute(insert(predictions), prediction(written[0]))
            written[0] += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while written[0] < 80:
            time.sleep(0.01)
        before = written[0]
        made = backed_up(state, place)
        after = written[0]
    finally:
        ended.set()
        writer.join()
    there = Settings(home=tmp_path / "there")
    fetch(there, place, made.name, None, replace=False)
    with closing(sqlite3.connect(there.home / "beacon.db")) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        (count,) = copy.execute("SELECT count(*) FROM predictions").fetchone()
    assert before <= count <= after


def test_a_killed_backup_is_none_and_the_next_one_is_whole(state: Settings, tmp_path: Path) -> None:
    (state.home / "big").write_bytes(os.urandom(64 << 20))
    to = tmp_path / "backups"
    command = [sys.executable, str(ROOT / "jobs" / "backup.py"), str(to)]
    environment = os.environ | {"BEACON_HOME": str(state.home)}
    running = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while running.poll() is None and not list(to.glob("*/home.tar*")):
        time.sleep(0.001)
    running.send_signal(signal.SIGKILL)
    running.wait(60)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    place = BackupPlace(str(to))
    there = Settings(home=tmp_path / "there")
    fetch(there, place, "", None, replace=False)
    assert (there.home / "big").read_bytes() == (state.home / "big").read_bytes()


def test_the_newest_are_kept_and_halves_go_after_a_day(state: Settings, place: BackupPlace, tmp_path: Path) -> None:
    file = tmp_path / "home.tar"
    file.write_text("x")
    for days in range(5):
        moment = NOW - timedelta(days=days)
        part = place.put(stamp(moment), file)
        if days != 3:  # which was broken off
            place.finish(BackupList(name=stamp(moment), time=moment, beacon="1", parts=(part,)))
    assert place.names() == [stamp(NOW - timedelta(days=days)) for days in (4, 2, 1, 0)]
    assert place.prune(2, NOW) == [stamp(NOW - timedelta(days=days)) for days in (4, 3, 2)]
    assert place.names() == [stamp(NOW - timedelta(days=days)) for days in (1, 0)]
    half = place.put(stamp(NOW - timedelta(hours=23)), file)
    assert half.bytes == 1
    assert place.prune(2, NOW) == []


def test_a_part_that_changed_is_refused_before_anything_is_touched(state: Settings, tmp_path: Path) -> None:
    place = BackupPlace(str(tmp_path / "backups"))
    made = backed_up(state, place)
    part = tmp_path / "backups" / made.name / home.FILE
    part.write_bytes(part.read_bytes().replace(b"bytes", b"evil!"))
    there = Settings(home=tmp_path / "there")
    with pytest.raises(BackupError, match=r"home.tar is not what was written: its sha256 differs"):
        fetch(there, place, "", None, replace=False)
    assert not there.home.exists()
    (tmp_path / "backups" / made.name / LIST).write_text("{")
    with pytest.raises(BackupError, match="is no list of a backup"):
        fetch(there, place, "", None, replace=False)


def test_a_place_that_is_away_or_in_the_state_itself_is_told(state: Settings, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="lies in"):
        backed_up(state, BackupPlace(str(state.home / "backups")))
    with pytest.raises(BackupError, match="has no backup"):
        fetch(state, BackupPlace(str(tmp_path)), "", None, replace=True)
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(BackupPlaceError, match=str(file)):
        backed_up(state, BackupPlace(str(file)))


def environment_of(server: Postgres, work: Path, **more: str) -> dict[str, str]:
    """What the chart gives the container with PostgreSQL's programs."""
    address = "postgresql://{}@127.0.0.1:{}/{}"
    return {
        "PATH": f"{server.programs}:{os.environ['PATH']}",
        "WORK": str(work),
        "PGPASSWORD": "one",
        "MLFLOW_PASSWORD": "two",
        "BEACON_DATABASE": address.format(OWNER, server.port, "beacon"),
        "MLFLOW_DATABASE": address.format(MLFLOW, server.port, "mlflow"),
        **more,
    }


def run_script(name: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = ["sh", "-c", (SCRIPTS / name).read_text()]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@contextmanager
def opened(server: Postgres, user: str, database: str = "beacon") -> Iterator[Engine]:
    engine = create_engine(server.url_of(user, database))
    try:
        yield engine
    finally:
        engine.dispose()


@pytest.mark.parametrize("of", ["the same version", "an earlier major version"])
def test_the_databases_of_a_cluster_come_back_with_their_rights_and_triggers(of: str, tmp_path: Path) -> None:
    """The way to a new major version of PostgreSQL, too: its programs restore what the old ones dumped."""
    place, work = BackupPlace(str(tmp_path / "backups")), tmp_path / "work"
    work.mkdir()
    with postgres_with_roles(older_programs() if of == "an earlier major version" else None) as server:
        settings = Settings(home=tmp_path / "files", database_url=server.url_of(OWNER))
        (settings.home / "dvc-remote").mkdir(parents=True)
        (settings.home / "dvc-remote" / "data").write_text("rows")
        with opened(server, OWNER) as engine, opened(server, MLFLOW, "mlflow") as registry:
            fill(engine)
            wanted = rows_of(engine)
            with registry.begin() as connection:
                connection.execute(text("CREATE TABLE model_versions (number int)"))
                connection.execute(text("INSERT INTO model_versions VALUES (7)"))
            done = run_script("dump.sh", environment_of(server, work))
            assert done.returncode == 0, done.stderr
            assert sorted(file.name for file in work.iterdir()) == ["beacon.dump", "mlflow.dump"]
            made = back_up(engine, settings, place, 1, work, mlflow=False)
            assert [part.name for part in made.parts] == ["beacon.dump", "home.tar"]
            (work / "mlflow.dump").unlink()
            # A dump that failed is told as a run that failed.
            with pytest.raises(BackupError, match=r"beacon.dump is not there: the log of pg_dump"):
                back_up(engine, settings, place, 1, work, mlflow=True)
            run_script("dump.sh", environment_of(server, work))
            mlflow = (work / "mlflow.dump").read_bytes()
            (work / "beacon.dump").unlink()
            (work / "mlflow.dump").unlink()
    there = Settings(home=tmp_path / "there")
    with postgres_with_roles() as server:
        fetch(there, place, "", work, replace=False)
        (work / "mlflow.dump").write_bytes(mlflow)
        done = run_script("restore.sh", environment_of(server, work))
        assert done.returncode == 0, done.stderr
        with opened(server, OWNER) as engine:
            finish(engine, there, work)
            assert rows_of(engine) == wanted
            with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
                connection.execute(text("DELETE FROM promotions"))
        with opened(server, MLFLOW, "mlflow") as registry, registry.connect() as connection:
            assert connection.scalar(text("SELECT number FROM model_versions")) == 7
        with opened(server, "beacon") as engine, engine.connect() as connection:
            for role, tables in GRANTS.items():
                for table, verbs in tables.items():
                    for verb in verbs:
                        asked = text("SELECT has_table_privilege(:role, :table, :verb)")
                        assert connection.scalar(asked, {"role": role, "table": table, "verb": verb}), (role, table)
        with opened(server, "beacon_prediction_log") as engine, engine.begin() as connection:
            connection.execute(insert(predictions), prediction(900))
        with opened(server, "beacon_console") as engine, engine.connect() as connection:
            assert connection.scalar(text("SELECT sum(predictions) FROM traffic")) == 51
        assert (there.home / "dvc-remote" / "data").read_text() == "rows"
        # A database that is in use is left alone, unless it is to be replaced; then it is the old one or the new one.
        again = run_script("restore.sh", environment_of(server, work))
        assert again.returncode == 1
        assert "the database of beacon is not empty: predictions has rows" in again.stderr
        replaced = run_script("restore.sh", environment_of(server, work, REPLACE="true"))
        assert replaced.returncode == 0, replaced.stderr
        with opened(server, OWNER) as engine:
            assert rows_of(engine) == wanted
        (work / "mlflow.dump").write_bytes(b"no dump")
        broken = run_script("restore.sh", environment_of(server, work, REPLACE="true"))
        assert broken.returncode != 0
        with opened(server, MLFLOW, "mlflow") as registry, registry.connect() as connection:
            assert connection.scalar(text("SELECT number FROM model_versions")) == 7


def test_the_scripts_take_passwords_of_files(tmp_path: Path) -> None:
    """As tokens of a cloud come: Beacon's file, and libpq's own for MLflow's database."""
    token, libpqs, work = (tmp_path / name for name in ("token", "pgpass", "work"))
    work.mkdir()
    token.write_text("three\n")
    libpqs.touch(0o600)
    libpqs.write_text("*:*:*:*:four\n")
    with postgres_with_roles() as server, server.asking_for_passwords():
        server.query(f"ALTER ROLE {OWNER} PASSWORD 'three'")
        server.query(f"ALTER ROLE {MLFLOW} PASSWORD 'four'")
        told = environment_of(server, work, PASSWORD_FILE=str(token))
        told["MLFLOW_DATABASE"] += f"?passfile={libpqs}"
        for name in ("PGPASSWORD", "MLFLOW_PASSWORD"):
            del told[name]
        for script in ("dump.sh", "restore.sh"):
            done = run_script(script, told)
            assert done.returncode == 0, done.stderr
            assert sorted(file.name for file in work.iterdir()) == ["beacon.dump", "mlflow.dump"], done.stderr


def test_a_restore_that_was_broken_off_goes_on(tmp_path: Path) -> None:
    place, work = BackupPlace(str(tmp_path / "backups")), tmp_path / "work"
    (tmp_path / "files" / "models").mkdir(parents=True)
    for folder in (work, tmp_path / "second"):
        folder.mkdir()
    file = work / "beacon.dump"
    file.write_text("dump")
    parts = [place.put(stamp(NOW), file)]
    tar = work / home.FILE
    home.pack(tmp_path / "files", tar, work)
    parts.append(place.put(stamp(NOW), tar))
    place.finish(BackupList(name=stamp(NOW), time=NOW, beacon="1", parts=tuple(parts)))
    there = Settings(home=tmp_path / "there")
    fetch(there, place, "", work, replace=False)
    assert not (work / "again").exists()
    fetch(there, place, "", tmp_path / "second", replace=False)
    assert (tmp_path / "second" / "again").exists(), "the databases may be those of the first try"
    with pytest.raises(BackupError, match="restore it in a cluster"):
        fetch(Settings(home=tmp_path / "laptop"), place, "", None, replace=False)


def test_artifacts_go_through_mlflow_itself(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("one", "two", "files", "scratch", "out", "back", "empty")}
    for folder in folders.values():
        folder.mkdir()
    for name, content in (("1/abc/artifacts/package/model.onnx", b"model"), ("0/def/artifacts/rows.parquet", b"rows")):
        file = folders["files"] / name
        file.parent.mkdir(parents=True)
        file.write_bytes(content)
    with mlflow_server(folders["one"]) as url:
        artifacts.pack(url, tmp_path / "empty.tar", folders["empty"])
        artifacts._repository(url).log_artifacts(str(folders["files"]))
        artifacts.pack(url, tmp_path / artifacts.FILE, folders["scratch"])
    with mlflow_server(folders["two"]) as url:
        artifacts.unpack(tmp_path / artifacts.FILE, url, folders["out"])
        artifacts.pack(url, tmp_path / "again.tar", folders["back"])
    found = {
        str(file.relative_to(folders["back"])): file.read_bytes()
        for file in folders["back"].rglob("*")
        if file.is_file()
    }
    assert found == {"1/abc/artifacts/package/model.onnx": b"model", "0/def/artifacts/rows.parquet": b"rows"}
