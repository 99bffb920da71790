"""A package is brought from MLflow's HTTP API whole and verified, or not at all."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.packages import build_package
from support.registry import Registry

from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product
from beacon_core.model_package.download import CHAMPION, download_package, pinned_at
from beacon_core.model_package.manifest import MANIFEST_FILE, PackageError
from beacon_core.model_package.release import package_folder
from beacon_core.platform.mlflow import Mlflow, RegistryUnavailableError


@pytest.fixture
def registry(tmp_path: Path, product: Product) -> Iterator[Registry]:
    pin = build_package(tmp_path / "registry", product)
    registry = Registry(package_folder(tmp_path / "registry", pin), pin)
    yield registry
    registry.close()


def test_a_package_comes_whole(registry: Registry, tmp_path: Path) -> None:
    package = download_package(registry.address, registry.pin, tmp_path / "models")
    assert package.folder == package_folder(tmp_path / "models", registry.pin)
    assert {file.name: file.read_bytes() for file in package.folder.iterdir()} == {
        file.name: file.read_bytes() for file in registry.folder.iterdir()
    }


@pytest.mark.parametrize("name", [MANIFEST_FILE, "model.onnx"])
def test_other_bytes_are_refused_and_nothing_is_left(name: str, registry: Registry, tmp_path: Path) -> None:
    with (registry.folder / name).open("ab") as stream:
        stream.write(b" ")
    with pytest.raises(PackageError, match=f"^{name}: MLflow at .* holds other bytes than the pinned"):
        download_package(registry.address, registry.pin, tmp_path / "models")
    assert [file for file in (tmp_path / "models").rglob("*") if file.is_file()] == []


def test_what_the_registry_lacks_is_named(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="has no boston-housing 9"):
        download_package(registry.address, Pin("boston-housing", "9", registry.pin.sha256), tmp_path)
    (registry.folder / "model.onnx").unlink()
    with pytest.raises(PackageError, match=r"has no package/model\.onnx"):
        download_package(registry.address, registry.pin, tmp_path)


def test_the_champion_is_pinned_by_its_digest(registry: Registry) -> None:
    assert pinned_at(Mlflow(registry.address), "boston-housing", CHAMPION) == registry.pin
    registry.has_champion = False
    assert pinned_at(Mlflow(registry.address), "boston-housing", CHAMPION) is None


def test_a_registry_that_is_away_is_no_missing_model(tmp_path: Path) -> None:
    away = "http://127.0.0.1:1"
    with pytest.raises(RegistryUnavailableError, match="does not answer"):
        pinned_at(Mlflow(away), "boston-housing", CHAMPION)
    with pytest.raises(RegistryUnavailableError, match="does not answer"):
        download_package(away, Pin("boston-housing", "1", "0" * 64), tmp_path)
