"""The first retraining of an installation waits for the store and MLflow, and trains nothing where a model serves."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import insert
from support.packages import build_package
from support.registry import Registry
from support.settings import Settings

from beacon_core.data import tables
from beacon_core.data.database import migrate, open_store
from beacon_core.model_package.release import package_folder
from beacon_core.platform import retry
from beacon_core.platform.mlflow import RegistryUnavailableError
from beacon_core.platform.product_file import load_product
from beacon_retraining.pipeline.first import model_in_service

PRODUCT = load_product(Settings().product)


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch):
    monkeypatch.setattr(retry, "PAUSE_SECONDS", 0.01)


@pytest.fixture
def registry(tmp_path):
    pin = build_package(tmp_path / "registry", PRODUCT)
    made = Registry(package_folder(tmp_path / "registry", pin), pin)
    made.has_champion = False
    yield made
    made.close()


def test_there_is_none_and_mlflow_is_up(tmp_path, registry):
    assert model_in_service(Settings(home=tmp_path, mlflow_url=registry.address), PRODUCT, 0) is None


def test_a_model_that_serves_is_told_and_mlflow_is_not_asked(tmp_path):
    settings = Settings(home=tmp_path, mlflow_url="http://127.0.0.1:9")
    engine = open_store(settings.database)
    migrate(engine)
    row = {"product": PRODUCT.name, "version": "7", "sha256": "7" * 64, "outcome": "pass", "data_fingerprint": ""}
    with engine.begin() as connection:
        connection.execute(insert(tables.verdicts).values(row | {"moment": datetime.now(UTC), "verdict": {}}))
    engine.dispose()
    found = model_in_service(settings, PRODUCT, 0)
    assert found is not None
    assert found.version == "7"


def test_it_waits_for_mlflow_as_long_as_it_may(tmp_path):
    settings = Settings(home=tmp_path, mlflow_url="http://127.0.0.1:9")
    with pytest.raises(RegistryUnavailableError):
        model_in_service(settings, PRODUCT, 0.05)
