"""A package is brought from MLflow's HTTP API whole and verified, or not at all."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.packages import build_package
from support.registry import Registry

from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product
from beacon_core.model_package.download import download_package
from beacon_core.model_package.manifest import MANIFEST_FILE, PackageError
from beacon_core.model_package.release import package_folder
from beacon_core.model_package.signature import (
    DIGEST_ALONE,
    SIGNATURE_FILE,
    SignatureError,
    Trust,
    sign_folder,
)
from beacon_core.platform.mlflow import RegistryUnavailableError
from beacon_core.platform.signing_keys import new_private_key, public_of

KEY, OTHER = new_private_key(), new_private_key()
TRUST = Trust({KEY.id: public_of(KEY.seed)}, required=True)


@pytest.fixture
def registry(tmp_path: Path, product: Product) -> Iterator[Registry]:
    pin = build_package(tmp_path / "registry", product)
    registry = Registry(package_folder(tmp_path / "registry", pin), pin)
    yield registry
    registry.close()


def test_a_package_comes_whole(registry: Registry, tmp_path: Path) -> None:
    package = download_package(registry.address, registry.pin, tmp_path / "models", DIGEST_ALONE)
    assert package.folder == package_folder(tmp_path / "models", registry.pin)
    assert {file.name: file.read_bytes() for file in package.folder.iterdir()} == {
        file.name: file.read_bytes() for file in registry.folder.iterdir()
    }


@pytest.mark.parametrize("name", [MANIFEST_FILE, "model.onnx"])
def test_other_bytes_are_refused_and_nothing_is_left(name: str, registry: Registry, tmp_path: Path) -> None:
    with (registry.folder / name).open("ab") as stream:
        stream.write(b" ")
    with pytest.raises(PackageError, match=f"^{name}: MLflow at .* holds other bytes than the pinned"):
        download_package(registry.address, registry.pin, tmp_path / "models", DIGEST_ALONE)
    assert [file for file in (tmp_path / "models").rglob("*") if file.is_file()] == []


def test_what_the_registry_lacks_is_named(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="has no boston-housing 9"):
        download_package(registry.address, Pin("boston-housing", "9", registry.pin.sha256), tmp_path, DIGEST_ALONE)
    (registry.folder / "model.onnx").unlink()
    with pytest.raises(PackageError, match=r"has no package/model\.onnx"):
        download_package(registry.address, registry.pin, tmp_path, DIGEST_ALONE)


def test_a_signed_package_comes_with_its_signature(registry: Registry, tmp_path: Path) -> None:
    sign_folder(registry.folder, KEY, registry.pin.sha256)
    package = download_package(registry.address, registry.pin, tmp_path / "models", TRUST)
    assert (package.folder / SIGNATURE_FILE).read_bytes() == (registry.folder / SIGNATURE_FILE).read_bytes()


def test_a_package_that_no_trusted_key_signed_is_refused_and_nothing_is_left(
    registry: Registry, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    with pytest.raises(SignatureError, match=f"^boston-housing 1: is not signed; one of {KEY.id} must"):
        download_package(registry.address, registry.pin, models, TRUST)
    sign_folder(registry.folder, OTHER, registry.pin.sha256)
    # What is there is not even asked for: a signature that nobody trusts comes first.
    (registry.folder / MANIFEST_FILE).unlink()
    with pytest.raises(SignatureError, match=f"^boston-housing 1: is signed by key '{OTHER.id}'; one of {KEY.id} must"):
        download_package(registry.address, registry.pin, models, TRUST)
    assert [file for file in models.rglob("*") if file.is_file()] == []


def test_a_registry_that_is_away_is_no_missing_model(tmp_path: Path) -> None:
    away = "http://127.0.0.1:1"
    with pytest.raises(RegistryUnavailableError, match="does not answer"):
        download_package(away, Pin("boston-housing", "1", "0" * 64), tmp_path, DIGEST_ALONE)
