"""The road from the sample to a registered, released package, against a real MLflow server and a real Feast store."""

import runpy
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import mlflow
import msgspec
import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from sqlalchemy import insert
from support.log_setup import kept_log_setup
from support.mlflow import mlflow_server
from support.ports import free_port
from support.settings import Settings

from beacon_core.data.database import open_store
from beacon_core.data.tables import predictions
from beacon_core.data.verdicts import newest
from beacon_core.domain.product import Product
from beacon_core.feature_store.names import EVENT_TIME
from beacon_core.model_package.download import ARTIFACTS, CHALLENGER, CHAMPION
from beacon_core.model_package.manifest import MANIFEST_FILE, Package, digest, read_package
from beacon_core.model_package.release import package_folder, read_release
from beacon_core.model_package.session import open_session
from beacon_core.platform.mlflow import Mlflow
from beacon_core.platform.settings import ROOT
from beacon_retraining.data.dataset import dataset_of
from beacon_retraining.data.history import load_dataset
from beacon_retraining.packaging import export
from beacon_retraining.packaging.graph import export_model, export_spread
from beacon_retraining.pipeline.context import DATASET, RegistrationResult
from beacon_retraining.pipeline.pipeline import RetrainOptions, retrain
from beacon_retraining.pipeline.stages import STAGES
from beacon_retraining.registry.lineage import LineageError, trace
from beacon_retraining.registry.register import Registry
from beacon_retraining.training.fitting import FittedModel
from beacon_retraining.training.imputation import model_columns
from beacon_retraining.training.settings import TrainSettings
from beacon_retraining.training.train import train

QUICK = TrainSettings(folds=4, repeats=1, coverage_folds=4, jobs=1, candidates=("ridge", "kernel-ridge"))
pytestmark = pytest.mark.xdist_group("retrain")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as url:
        yield url


class Road:
    """What one run of the pipeline left behind."""

    def __init__(self, settings: Settings, product: Product, training: TrainSettings = QUICK) -> None:
        self.settings = settings
        self.lines: list[str] = []
        done = retrain(settings, product, training, RetrainOptions(by_dvc=False), self.lines.append)
        assert done is not None
        self.done: RegistrationResult = done
        self.package: Package = read_package(settings.models_dir / product.name / done.version, done.sha256)


@pytest.fixture(scope="module")
def road(address: str, product: Product, tmp_path_factory: pytest.TempPathFactory) -> Road:
    return Road(Settings(home=tmp_path_factory.mktemp("home"), mlflow_url=address), product)


def test_every_stage_says_what_it_did(road: Road) -> None:
    stages = [line.split()[0] for line in road.lines]
    assert stages == list(STAGES)
    assert "no Kaggle credentials are set" in road.lines[0]


def test_the_release_pins_a_package_that_verifies_and_answers_its_golden_rows(road: Road) -> None:
    pin = read_release(road.settings.release_file).model
    package = read_package(package_folder(road.settings.models_dir, pin), pin.sha256)
    assert package.manifest == road.package.manifest
    session = open_session(package.model)
    rows = np.array([golden.row for golden in package.manifest.golden])
    given = export.run(session, rows)
    assert len(rows) == 8
    wanted = [golden.prediction for golden in package.manifest.golden]
    assert np.abs(given - wanted).max() <= package.manifest.golden_tolerance


def test_the_manifest_tells_what_training_saw(road: Road, product: Product) -> None:
    manifest = road.package.manifest
    dataset = load_dataset(road.settings, product)
    assert (manifest.product, manifest.version, manifest.schema.digest) == (product.name, "1", product.schema.digest)
    assert (manifest.data.source, manifest.data.fingerprint) == ("sample", dataset.fingerprint)
    assert manifest.data.rows == 506
    assert [feature.name for feature in manifest.features] == list(product.feature_names)
    for i, feature in enumerate(manifest.features):
        column = dataset.features[:, i]
        assert (feature.min, feature.max) == (np.nanmin(column), np.nanmax(column))
        assert feature.quantiles[3] == np.nanmedian(column)
    assert (manifest.prediction_min, manifest.prediction_max) == (5.0, 50.0)
    # Few folds, and so wide intervals: they may hold more than they promise.
    assert -0.03 <= manifest.interval.measured_coverage - manifest.interval.coverage <= 0.05
    card = (road.package.folder / "MODEL_CARD.md").read_text()
    assert "| kernel-ridge |" in card
    assert "| ridge |" in card
    assert product.excluded["B"] in card


def test_feast_gives_back_the_rows_of_the_file(road: Road, product: Product) -> None:
    features = load_dataset(road.settings, product).features
    text = product.sample_path.read_text().splitlines()
    header = text[0].split(",")
    for number in (0, 3, 505):
        row = dict(zip(header, text[1 + number].split(","), strict=True))
        wanted = [float("nan") if row[name] == "NA" else float(row[name]) for name in product.feature_names]
        np.testing.assert_array_equal(features[number], wanted)


def test_the_registry_holds_the_version_the_alias_and_the_same_bytes(
    road: Road, address: str, product: Product, tmp_path: Path
) -> None:
    client = MlflowClient(address, address)
    version = client.get_model_version_by_alias(product.name, CHAMPION)
    assert str(version.version) == "1"
    assert version.tags["sha256"] == road.package.sha256
    assert version.tags["data_fingerprint"] == road.package.manifest.data.fingerprint
    assert version.tags["schema_hash"] == product.schema.digest
    run = client.get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["candidate"] == "kernel-ridge"
    scores = {score.name: score.value for score in road.package.manifest.scores}
    assert {name: run.data.metrics[name] for name in scores} == scores
    local = mlflow.artifacts.download_artifacts(
        artifact_uri=version.source, dst_path=str(tmp_path), tracking_uri=address
    )
    assert version.source.endswith(ARTIFACTS)
    downloaded = read_package(Path(local), digest((Path(local) / MANIFEST_FILE).read_bytes()))
    assert downloaded.sha256 == road.package.sha256


def test_equal_data_and_parameters_are_one_version(road: Road, address: str, product: Product) -> None:
    before = Registry(address).next_version(product.name)
    again = Road(road.settings, product)
    assert again.done == road.done
    assert Registry(address).next_version(product.name) == before
    assert "is in service already" in again.lines[-1]


def test_another_seed_makes_a_challenger_that_waits_with_its_verdict(
    road: Road, address: str, product: Product
) -> None:
    before = road.settings.release_file.read_bytes()
    other = Road(road.settings, product, msgspec.structs.replace(QUICK, seed=1))
    assert other.package.manifest.version == "2"
    assert other.package.manifest.data == road.package.manifest.data
    assert road.settings.release_file.read_bytes() == before
    aliases = Mlflow(address).aliases(product.name)
    assert (aliases[CHAMPION], aliases[CHALLENGER]) == ("1", "2")
    assert "waits for promotion" in other.lines[-1]
    version = MlflowClient(address, address).get_model_version(product.name, "2")
    stored = newest(open_store(road.settings.database), product.name, "2", other.package.sha256)
    assert stored is not None
    assert stored.champion is not None
    assert (stored.champion.version, stored.outcome) == ("1", version.tags["verdict"])


def test_what_a_version_was_trained_on_can_be_listed_again(road: Road, address: str, product: Product) -> None:
    rows = Registry(address).training_rows(product.name, "1")
    assert dataset_of(product, rows).fingerprint == road.package.manifest.data.fingerprint


def test_a_predictions_lineage_ends_at_data_and_code(road: Road, address: str, product: Product) -> None:
    engine, registry = open_store(road.settings.database), Registry(address)
    row = {"time": datetime.now(UTC), "features": {}, "imputed": [], "out_of_range": [], "prediction": 21.5}
    row |= {"low": 18.0, "high": 25.0, "latency_seconds": 0.001, "request_id": "r1", "model_version": "1"}
    with engine.begin() as connection:
        connection.execute(insert(predictions).values(row | {"id": "p1", "model_sha256": road.package.sha256}))
        connection.execute(insert(predictions).values(row | {"id": "p2", "model_sha256": "0" * 64}))
    steps = trace(engine, registry, product, "p1")
    manifest = road.package.manifest
    assert steps["model"] == f"{product.name} version 1"
    assert steps["package"] == f"sha256 {road.package.sha256}"
    assert road.done.run_id in steps["run"]
    assert steps["data"] == f"sha256 {manifest.data.fingerprint}, 506 rows, 0 of them from production"
    assert steps["code"].startswith(f"revision {manifest.revision}, inputs ")
    with pytest.raises(LineageError, match="no prediction 'p9'"):
        trace(engine, registry, product, "p9")
    with pytest.raises(LineageError, match="made by 0000"):
        trace(engine, registry, product, "p2")


def test_equal_data_give_an_equal_model(road: Road, product: Product) -> None:
    dataset = load_dataset(road.settings, product)
    trained = train(dataset, product, QUICK)
    assert trained.model is not None
    fitted = FittedModel(trained.model, trained.fill, dataset.schema)
    model = export_spread(export_model(dataset, fitted), dataset, trained)
    assert digest(model) == digest(road.package.model)


def test_a_registry_that_is_down_is_said_so_with_an_exit_that_asks_for_a_retry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("BEACON_MLFLOW_URL", url)
    monkeypatch.setenv("BEACON_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["retrain.py", "--here"])
    with kept_log_setup(), pytest.raises(SystemExit) as exit_:
        runpy.run_path(str(ROOT / "jobs" / "retrain.py"), run_name="__main__")
    assert exit_.value.code == 75
    assert f"retraining failed: MLflow at {url} does not answer" in capsys.readouterr().err
    assert not (tmp_path / "models").exists()
    assert not (tmp_path / "release.json").exists()


def test_the_package_answers_every_row_that_feast_gives(road: Road, product: Product) -> None:
    dataset = load_dataset(road.settings, product)
    fill = np.array([feature.fill for feature in road.package.manifest.features])
    predictions = export.run(
        open_session(road.package.model), model_columns(dataset.features, fill, dataset.schema, dataset.seconds)
    )
    assert np.isfinite(predictions).all()
    assert np.corrcoef(predictions, dataset.target)[0, 1] > 0.9


def test_a_cadence_replay_is_a_run_of_its_own_in_mlflow(
    road: Road, address: str, product: Product, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = pd.read_parquet(road.settings.home / "pipeline" / DATASET)
    begin = pd.Timestamp("2025-01-01", tz="UTC")
    rows[EVENT_TIME] = [begin + pd.Timedelta(hours=2 * number) for number in range(len(rows))]
    history = tmp_path / "history.parquet"
    rows.to_parquet(history)
    out = tmp_path / "out"
    monkeypatch.setenv("BEACON_MLFLOW_URL", address)
    monkeypatch.setenv("BEACON_HOME", str(tmp_path))
    options = ["--rows", str(history), "--out", str(out), "--candidate", "ridge", "--mlflow"]
    monkeypatch.setattr(sys, "argv", ["cadence.py", *options])
    with kept_log_setup(), pytest.raises(SystemExit) as exit_:
        runpy.run_path(str(ROOT / "jobs" / "cadence.py"), run_name="__main__")
    assert not exit_.value.code
    client = MlflowClient(address, address)
    experiment = client.get_experiment_by_name(f"{product.name}-cadence")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params == {"candidate": "ridge", "data.fingerprint": dataset_of(product, rows).fingerprint}
    assert set(run.data.metrics) == {
        f"cadence/{name}/mae" for name in ("never", "30-days", "14-days", "7-days", "on-drift")
    }
    table = (out / "cadence.md").read_text()
    assert f"| never | {run.data.metrics['cadence/never/mae']:.3g} |" in table
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {
        "cadence.md", "cadence.svg", "usefulness.svg"
    }  # fmt: skip
