"""Faults under DVC: bad data, a kill in every stage, MLflow away, no git, a remote on S3. What was good stays good."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from mlflow.tracking import MlflowClient
from sqlalchemy import func, select
from support.kaggle import Answer, StandIn, spoilt, zipped
from support.mlflow import mlflow_server
from support.ports import free_port
from support.products import SAMPLE_FILE
from support.s3 import s3_bucket
from support.settings import Settings

from beacon_core.data.database import migrate, open_store
from beacon_core.data.tables import job_runs
from beacon_core.domain.product import Product
from beacon_core.model_package.release import read_release
from beacon_core.platform.job import status_of
from beacon_core.platform.settings import ROOT
from beacon_retraining.pipeline import dvc, remote
from beacon_retraining.pipeline.pipeline import RetrainOptions, StageFailedError, retrain
from beacon_retraining.pipeline.stages import STAGES, run_stage
from beacon_retraining.pipeline.workspace import LOCK, Run, folder_of, prepare
from beacon_retraining.training.settings import TrainSettings

QUICK = TrainSettings(folds=3, repeats=1, coverage_folds=3, jobs=1, candidates=("ridge",))
SAMPLE = SAMPLE_FILE.read_bytes()
WHOLE = zipped("HousingData.csv", SAMPLE)
HEADER, *LINES = SAMPLE.decode().splitlines()
pytestmark = [pytest.mark.xdist_group("retrain-faults"), pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow-faults")) as url:
        yield url


@pytest.fixture(scope="module")
def settings(address: str, product: Product, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home in which one retraining by DVC went well."""
    made = Settings(home=tmp_path_factory.mktemp("home"), mlflow_url=address)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BEACON_HOME", str(made.home))
        patch.setenv("BEACON_MLFLOW_URL", address)
        assert retrain(made, product, QUICK, RetrainOptions(), print) is not None
    return made


@pytest.fixture(autouse=True)
def _of_this_home(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("BEACON_MLFLOW_URL", address)
    if "settings" in request.fixturenames:
        monkeypatch.setenv("BEACON_HOME", str(request.getfixturevalue("settings").home))


def csv(lines: list[str], header: str = HEADER) -> bytes:
    return "\n".join([header, *lines, ""]).encode()


def column(name: str, value: str) -> bytes:
    place = HEADER.split(",").index(name)
    cells = [line.split(",") for line in LINES]
    return csv([",".join([*row[:place], value, *row[place + 1 :]]) for row in cells])


TARGET = HEADER.split(",").index("MEDV")
TABLES = {
    "missing column": csv([line.partition(",")[2] for line in LINES], HEADER.partition(",")[2]),
    "extra column": csv([f"{line},1" for line in LINES], f"{HEADER},PRICE"),
    "renamed": SAMPLE.replace(b"RM,", b"ROOMS,"),
    "quoted newline": csv([f'"0\n1"{LINES[0][LINES[0].index(",") :]}', *LINES[1:]]),
    "duplicate rows": csv(LINES + LINES[:50]),
    "no rows": csv([]),
    "too many rows": csv(LINES * 220),
    "all missing": column("RM", "NA"),
    "leakage": csv([",".join([line.split(",")[TARGET], *line.split(",")[1:]]) for line in LINES]),
    "formula": column("TAX", "=1+1"),
}
ARCHIVES = {
    "403": Answer(b"no", 403),
    "429 for an hour": Answer(b"", 429, {"Retry-After": "3600"}),
    "cut at half": Answer(WHOLE[: len(WHOLE) // 2]),
    "right size, wrong bytes": Answer(spoilt(WHOLE)),
    "a page": Answer(b"<html>sign in</html>", 200, {"Content-Type": "text/html"}),
    "another file": Answer(zipped("other.csv", SAMPLE)),
}
BAD = ARCHIVES | {name: Answer(zipped("HousingData.csv", table)) for name, table in TABLES.items()}


def state(folder: Path) -> dict[str, str]:
    """Every file of the workspace by digest, but for what a run is told and its locks."""
    passing = {"run.json", "failure.json", ".stage.lock"}
    files = [file for file in folder.rglob("*") if file.is_file() and file.name not in passing]
    kept = [file for file in files if ".git" not in file.parts and "tmp" not in file.relative_to(folder).parts]
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in kept}


def asks_kaggle(kaggle: StandIn, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = kaggle.environment(home)
    for name in ("KAGGLE_API_ENVIRONMENT", "KAGGLE_USERNAME", "KAGGLE_KEY", "http_proxy", "no_proxy"):
        monkeypatch.setenv(name, given[name])


def versions(address: str, product: Product) -> list[str]:
    client = MlflowClient(address, address)
    return sorted(str(version.version) for version in client.search_model_versions(f"name = '{product.name}'"))


@pytest.mark.parametrize("name", BAD)
def test_bad_data_leave_the_lock_and_the_last_good_data_as_they_were(
    name: str, settings: Settings, product: Product, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = prepare(settings, QUICK, Run("bad", "hand", jobs=1))
    before = state(folder)
    assert LOCK in before
    assert "raw/table.parquet" in before
    with StandIn() as kaggle:
        asks_kaggle(kaggle, tmp_path, monkeypatch)
        kaggle.answers = [BAD[name]]
        with pytest.raises(Exception) as failed:  # noqa: PT011 - each kind is held to its message elsewhere
            run_stage("fetch", settings)
    assert status_of(failed.value) is not None
    assert state(folder) == before


def test_good_data_in_other_forms_are_taken(
    settings: Settings, product: Product, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = [*reversed(HEADER.split(","))]
    turned = csv([",".join(reversed(line.split(","))) for line in LINES], ",".join(order))
    forms = (b"\xef\xbb\xbf" + SAMPLE, SAMPLE.replace(b"\n", b"\r\n"), turned)
    forms += (SAMPLE.replace(b",", b";"), SAMPLE.decode().encode("utf-16"))
    with StandIn() as kaggle:
        asks_kaggle(kaggle, tmp_path, monkeypatch)
        for table in forms:
            prepare(settings, QUICK, Run("good", "hand", jobs=1))
            kaggle.answers = [Answer(zipped("HousingData.csv", table))]
            assert "kaggle:altavish" in run_stage("fetch", settings)
    monkeypatch.delenv("KAGGLE_USERNAME")
    monkeypatch.delenv("KAGGLE_KEY")
    run_stage("fetch", settings)  # the sample again


def test_bad_data_end_a_run_by_dvc_with_their_own_status(
    settings: Settings, product: Product, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(settings)
    before, known = state(folder), versions(address, product)
    with StandIn() as kaggle:
        asks_kaggle(kaggle, tmp_path, monkeypatch)
        kaggle.answers = [BAD["renamed"]]
        with pytest.raises(StageFailedError, match=r"fetch: .*RM is missing; 'ROOMS' is not a column") as failed:
            retrain(settings, product, QUICK, RetrainOptions(), print)
    assert failed.value.exit_status == 65
    assert state(folder) == before
    assert versions(address, product) == known


def test_mlflow_away_at_registration_keeps_the_package_and_the_next_run_registers_it_once(
    settings: Settings, product: Product, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = msgspec.structs.replace(QUICK, seed=5)
    folder = prepare(settings, other, Run("away", "hand", jobs=1))
    known = versions(address, product)
    subprocess.run(
        [sys.executable, "-m", "dvc", "repro", "-q", "evaluate"], cwd=folder, env=dvc._environment(), check=True
    )
    made = (folder / "package.json").read_bytes()
    gone = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("BEACON_MLFLOW_URL", gone)
    with pytest.raises(StageFailedError, match=f"register: MLflow at {gone} does not answer") as failed:
        retrain(msgspec.structs.replace(settings, mlflow_url=gone), product, other, RetrainOptions(), print)
    assert failed.value.exit_status == 75
    assert (folder / "package.json").read_bytes() == made
    assert versions(address, product) == known
    monkeypatch.setenv("BEACON_MLFLOW_URL", address)
    done = retrain(settings, product, other, RetrainOptions(), print)
    assert done is not None
    assert done.sha256 == msgspec.json.decode(made)["sha256"]
    again = retrain(settings, product, other, RetrainOptions(), print)
    assert again is not None
    assert (again.version, again.sha256) == (done.version, done.sha256)
    assert len(versions(address, product)) == len(known) + 1


def test_what_is_pushed_to_s3_is_pulled_elsewhere(settings: Settings, tmp_path: Path) -> None:
    with s3_bucket("beacon-data") as bucket:
        here = msgspec.structs.replace(settings, dvc_remote=f"{bucket}/retraining")
        folder = prepare(here, QUICK, Run("push", "push", jobs=1))
        there_too = msgspec.structs.replace(here, home=tmp_path / "early")
        assert not remote.pull(there_too, prepare(there_too, QUICK, Run("pull", "pull", jobs=1)))
        remote.push(here, folder)
        there = msgspec.structs.replace(here, home=tmp_path)
        pulled = prepare(there, QUICK, Run("pull", "pull", jobs=1))
        assert remote.pull(there, pulled)
    for name in (LOCK, "raw/table.parquet", "dataset.parquet", "model.onnx", "package.json"):
        assert (pulled / name).read_bytes() == (folder / name).read_bytes(), name


def started(settings: Settings) -> set[str]:
    engine = open_store(settings.database)
    try:
        with engine.connect() as connection:
            newest = select(func.max(job_runs.c.period)).scalar_subquery()
            return set(connection.execute(select(job_runs.c.stage).where(job_runs.c.period == newest)).scalars())
    finally:
        engine.dispose()


def test_a_kill_in_every_stage_leaves_nothing_half_done_and_a_rerun_is_clean_without_git(
    address: str, product: Product, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No git on the path, as in an image: DVC does without."""
    settings = Settings(home=tmp_path / "home", mlflow_url=address)
    known = versions(address, product)
    environment = {"BEACON_HOME": str(settings.home), "PATH": str(Path(sys.executable).parent)}
    environment |= {"BEACON_MLFLOW_URL": address}
    options = ["--folds", "3", "--repeats", "1", "--candidates", "ridge", "--jobs", "1", "--seed", "11"]
    command = [sys.executable, str(ROOT / "jobs" / "retrain.py"), *options]
    engine = open_store(settings.database)
    migrate(engine)
    engine.dispose()
    for stage in STAGES:
        with (tmp_path / f"{stage}.log").open("wb") as log:
            job = subprocess.Popen(
                command, env=os.environ | environment, stdout=log, stderr=log, start_new_session=True
            )
        try:
            deadline = time.monotonic() + 240
            while stage not in started(settings):
                assert job.poll() is None, (tmp_path / f"{stage}.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.1)
            time.sleep(0.3)  # into the stage
        finally:
            os.killpg(job.pid, signal.SIGKILL)
            job.wait()
        assert not settings.release_file.exists() or stage == "register"
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (new,) = set(versions(address, product)) - set(known)
    assert (settings.home / "models" / product.name / new / "manifest.json").is_file()
    assert not (folder_of(settings) / ".git").exists()
    assert not list(settings.home.rglob(".draft*"))
    client = MlflowClient(address, address)
    experiment = client.get_experiment_by_name(product.name)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.status for run in runs} <= {"FINISHED", "FAILED"}
    if settings.release_file.exists():
        assert read_release(settings.release_file).model.version == new
