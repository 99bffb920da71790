"""Retraining whole after somebody has edited MLflow: by DVC and in one process, with and without a champion."""

import itertools
import runpy
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from mlflow.tracking import MlflowClient
from support.mlflow import mlflow_server
from support.settings import Settings

from beacon_core.data import ledger
from beacon_core.data.database import open_store
from beacon_core.data.verdicts import newest
from beacon_core.domain import ledger_entries
from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product
from beacon_core.domain.verdict import Verdict
from beacon_core.model_package.download import CHALLENGER, CHAMPION
from beacon_core.model_package.release import read_release
from beacon_core.platform import clock
from beacon_core.platform.mlflow import Mlflow
from beacon_core.platform.settings import ROOT
from beacon_retraining.commands.champion import NONE_YET
from beacon_retraining.pipeline.context import RegistrationResult
from beacon_retraining.pipeline.pipeline import RetrainOptions, retrain
from beacon_retraining.training.settings import TrainSettings

QUICK = TrainSettings(folds=3, repeats=1, coverage_folds=3, jobs=1, candidates=("ridge",))
SEEDS = itertools.count(1)
pytestmark = [pytest.mark.xdist_group("edited-whole"), pytest.mark.timeout(1800)]


class Home:
    """A home with one model in service; every method changes it or the registry."""

    def __init__(self, address: str, product: Product, folder: Path, *, by_dvc: bool) -> None:
        self.settings = Settings(home=folder, mlflow_url=address)
        self.product, self.options = product, RetrainOptions(by_dvc=by_dvc)
        self.client, self.mlflow = MlflowClient(address, address), Mlflow(address)
        self.lines: list[str] = []
        self.retrain(0)

    def retrain(self, seed: int) -> RegistrationResult:
        """Once; what it says of the version is what the registry has."""
        self.lines.clear()
        training = msgspec.structs.replace(QUICK, seed=seed)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("BEACON_HOME", str(self.settings.home))
            patch.setenv("BEACON_MLFLOW_URL", self.settings.mlflow_url)
            done = retrain(self.settings, self.product, training, self.options, self.lines.append)
        assert done is not None
        version = self.mlflow.version(self.product.name, done.version)
        assert version is not None
        assert (version.sha256, version.run_id) == (done.sha256, done.run_id)
        return done

    def delete(self, done: RegistrationResult) -> None:
        self.client.delete_model_version(self.product.name, done.version)

    def of_a_person(self) -> str:
        run = self.client.create_run(self.client.create_experiment(f"theirs-{next(SEEDS)}"))
        source = f"{run.info.artifact_uri}/model"
        return str(self.client.create_model_version(self.product.name, source, run.info.run_id).version)

    def verdict(self, done: RegistrationResult) -> Verdict:
        said = newest(open_store(self.settings.database), self.product.name, done.version, done.sha256)
        assert said is not None
        return said


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow-edited-whole")) as url:
        yield url


@pytest.fixture(scope="module")
def home(address: str, product: Product, tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(address, product, tmp_path_factory.mktemp("home"), by_dvc=False)


def test_the_newest_version_deleted(home: Home) -> None:
    second = home.retrain(next(SEEDS))
    home.delete(second)
    third = home.retrain(next(SEEDS))
    assert int(third.version) == int(second.version) + 1
    assert home.mlflow.aliases(home.product.name)[CHALLENGER] == third.version


def test_one_that_a_person_made_and_deleted_costs_no_run(home: Home) -> None:
    """Nothing shows that its number is used: the registry says so when it is too late, and the run goes on."""
    theirs = home.of_a_person()
    home.client.delete_model_version(home.product.name, theirs)
    second = home.retrain(next(SEEDS))
    assert int(second.version) == int(theirs) + 2, "MLflow gave the number between to the package that was refused"
    assert any(line.startswith("again from package: ") for line in home.lines)
    assert home.verdict(second).challenger.version == second.version


def test_a_run_deleted_that_equal_inputs_would_make_again(home: Home) -> None:
    seed = next(SEEDS)
    second = home.retrain(seed)
    home.client.delete_run(second.run_id)
    third = home.retrain(seed)
    assert int(third.version) == int(second.version) + 1
    assert home.client.get_run(third.run_id).info.status == "FINISHED"


def test_the_version_in_service_deleted_and_the_model_with_it(home: Home) -> None:
    """The release file and the package are here: it serves on, and the next model is held against it."""
    serving = read_release(home.settings.release_file).model
    highest = max(int(folder.name) for folder in (home.settings.models_dir / home.product.name).iterdir())
    home.client.delete_registered_model(home.product.name)
    second = home.retrain(next(SEEDS))
    assert int(second.version) == highest + 1, "no number is given twice"
    assert read_release(home.settings.release_file).model == serving
    champion = home.verdict(second).champion
    assert champion is not None
    assert champion.sha256 == serving.sha256


def test_a_version_deleted_that_dvc_knows_no_change_of(
    address: str, product: Product, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Equal inputs leave DVC nothing to do, and still the version has to be there."""
    home = Home(address, product, tmp_path_factory.mktemp("home-dvc"), by_dvc=True)
    seed = next(SEEDS)
    second = home.retrain(seed)
    home.delete(second)
    third = home.retrain(seed)
    assert int(third.version) == int(second.version) + 1
    assert home.retrain(seed) == third, "and once is enough"
    theirs = home.of_a_person()
    home.client.delete_model_version(home.product.name, theirs)
    assert int(home.retrain(next(SEEDS)).version) == int(theirs) + 2


def test_the_champion_deleted_where_only_the_registry_and_the_ledger_know_it(home: Home) -> None:
    """As in a cluster: no release file, no package at hand. The next model waits for its promotion all the same."""
    name, engine = home.product.name, open_store(home.settings.database)
    first = home.retrain(next(SEEDS))
    row = ledger_entries.Entry(
        key="a/1",
        run="a",
        moment=clock.now(),
        product=name,
        target="cluster",
        actor="test",
        action="promote",
        step="end",
        outcome="promoted",
        serving=(Pin(name, first.version, first.sha256),),
    )
    with engine.begin() as connection:
        ledger.append(connection, row)
    release = home.settings.release_file.read_bytes()
    home.settings.release_file.unlink()
    shutil.rmtree(home.settings.models_dir)
    for alias in home.mlflow.aliases(name):
        home.client.delete_registered_model_alias(name, alias)
    home.delete(first)
    second = home.retrain(next(SEEDS))
    assert home.mlflow.aliases(name) == {CHALLENGER: second.version}
    assert not home.settings.release_file.exists()
    assert home.verdict(second).champion is None, "so that promotion takes it, whatever serves"
    home.settings.release_file.write_bytes(release)


def test_an_alias_that_names_a_persons_version(
    address: str,
    product: Product,
    tmp_path: Path,
    home: Home,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    theirs = home.of_a_person()
    home.client.set_registered_model_alias(product.name, CHAMPION, theirs)
    monkeypatch.setenv("BEACON_MLFLOW_URL", address)
    monkeypatch.setenv("BEACON_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["champion.py"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "jobs" / "champion.py"), run_name="__main__")
    # The store says what is in service, and no alias: this one has promoted nothing.
    assert ended.value.code == NONE_YET
    assert f"{product.name} has no champion yet" in capsys.readouterr().err
    other = Home(address, product, tmp_path, by_dvc=False)
    served = read_release(other.settings.release_file).model.version
    assert home.mlflow.aliases(product.name)[CHAMPION] == served
