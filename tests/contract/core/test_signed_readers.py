"""Whoever reads a package misses its signature, and says so in one line; with it, each of them takes the package."""

import ast
import asyncio
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.packages import build_package
from support.registry import Registry
from support.settings import Settings

from beacon_console.models.registry import Registry as ConsoleRegistry
from beacon_core.commands.fetch_model import fetch
from beacon_core.domain.errors import BeaconError
from beacon_core.domain.product import Product
from beacon_core.model_package.manifest import PackageError
from beacon_core.model_package.release import Release, package_folder, write_release
from beacon_core.model_package.signature import sign_folder, trust_of
from beacon_core.platform.settings import ROOT
from beacon_core.platform.signing_keys import new_private_key, public_of, public_pem, write_key_pair
from beacon_drift_profiling.profiling.packages import NoReference, load_reference
from beacon_inference.explanation.logged import Packages
from beacon_inference.models.model import load_model
from beacon_promotion.targets.base.target import ReleaseFailedError
from beacon_promotion.targets.laptop.target import Laptop
from beacon_retraining.pipeline.evaluate_stage import read_champion

pytestmark = pytest.mark.slow

KEY, OTHER = new_private_key(), new_private_key()


class World:
    """A package in MLflow alone, or in the models folder, too, and settings that trust one key."""

    def __init__(self, home: Path, product: Product) -> None:
        self.product = product
        self.pin = build_package(home / "registry", product)
        self.registry = Registry(package_folder(home / "registry", self.pin), self.pin)
        self.settings = Settings(home=home / "home", mlflow_url=self.registry.address)
        self.settings.trusted_keys_file.parent.mkdir(parents=True)
        self.settings.trusted_keys_file.write_text(public_pem([public_of(KEY.seed)]))

    def install(self) -> Path:
        folder = package_folder(self.settings.models_dir, self.pin)
        shutil.copytree(self.registry.folder, folder)
        return folder


@pytest.fixture
def world(tmp_path: Path, product: Product) -> Iterator[World]:
    world = World(tmp_path, product)
    yield world
    world.registry.close()


def explained(world: World) -> object:
    packages = Packages(world.settings)
    try:
        return asyncio.run(packages.find(world.pin))
    finally:
        packages.close()


def profiled(world: World) -> object:
    folder, trust = world.settings.models_dir, trust_of(world.settings)
    found = load_reference(folder, world.product, world.pin.version, world.pin.sha256, trust)
    if isinstance(found, NoReference) and "sign" in found.reason:
        raise PackageError(found.reason)
    return found


def of_console(world: World) -> object:
    found = ConsoleRegistry(world.registry.address, trust_of(world.settings)).find(world.pin.name, world.pin.version)
    assert found is not None
    if found.damage is not None and "sign" in found.damage:
        raise PackageError(found.damage)
    return found.manifest


FROM_MLFLOW: dict[str, Callable[[World], object]] = {
    "fetch": lambda world: fetch(world.settings, world.pin, None),
    "explanation": explained,
    "promotion": lambda world: Laptop(world.settings, subprocess.Popen).package(world.pin),
    "console": of_console,
}
HERE: dict[str, Callable[[World], object]] = {
    "hot swap": lambda world: load_model(world.settings.models_dir, world.pin, world.product, trust_of(world.settings)),
    "promotion": FROM_MLFLOW["promotion"],
    "drift": profiled,
}


@pytest.mark.parametrize("reader", FROM_MLFLOW)
def test_what_comes_from_mlflow_must_be_signed(world: World, reader: str) -> None:
    read = FROM_MLFLOW[reader]
    with pytest.raises((PackageError, BeaconError, ReleaseFailedError), match=f"not signed; one of {KEY.id} must"):
        read(world)
    sign_folder(world.registry.folder, OTHER, world.pin.sha256)
    with pytest.raises((PackageError, BeaconError, ReleaseFailedError), match=f"{OTHER.id}'; one of {KEY.id} must"):
        read(world)
    sign_folder(world.registry.folder, KEY, world.pin.sha256)
    assert read(world)


@pytest.mark.parametrize("reader", HERE)
def test_what_lies_here_must_be_signed(world: World, reader: str) -> None:
    folder, read = world.install(), HERE[reader]
    with pytest.raises((PackageError, ReleaseFailedError), match=f"not signed; one of {KEY.id} must"):
        read(world)
    sign_folder(folder, KEY, world.pin.sha256)
    assert read(world)


def test_a_way_back_must_be_signed(world: World) -> None:
    folder, target = world.install(), Laptop(world.settings, subprocess.Popen)
    with pytest.raises(ReleaseFailedError, match=r"cannot be restored: .* is not signed; one of"):
        target.check(world.pin, world.pin)
    sign_folder(folder, KEY, world.pin.sha256)
    target.check(world.pin, world.pin)


def test_a_retraining_compares_with_no_champion_that_is_not_signed(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    assert read_champion(world.settings, world.pin) is None
    assert f"cannot be compared with: boston-housing 1: is not signed; one of {KEY.id} must" in caplog.text
    sign_folder(world.registry.folder, KEY, world.pin.sha256)
    assert read_champion(world.settings, world.pin) is not None


def test_an_unsigned_copy_is_brought_again_once_mlflow_has_its_signature(world: World) -> None:
    world.install()
    sign_folder(world.registry.folder, KEY, world.pin.sha256)
    assert "from http" in fetch(world.settings, world.pin, None)
    assert "already present" in fetch(world.settings, world.pin, None)


def test_the_job_that_fetches_says_it_in_one_line(world: World) -> None:
    write_release(world.settings.release_file, Release(model=world.pin))
    environment = {"BEACON_HOME": str(world.settings.home), "BEACON_MLFLOW_URL": world.registry.address}
    command = [sys.executable, str(ROOT / "jobs" / "fetch_model.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = [line for line in (done.stdout + done.stderr).splitlines() if "cannot be fetched" in line]
    assert f"boston-housing 1: is not signed; one of {KEY.id} must have signed it" in line
    assert "Traceback" not in done.stdout + done.stderr


def test_while_keys_change_both_are_trusted(world: World) -> None:
    sign_folder(world.registry.folder, OTHER, world.pin.sha256)
    world.settings.trusted_keys_file.write_text(public_pem([public_of(KEY.seed), public_of(OTHER.seed)]))
    assert "from http" in fetch(world.settings, world.pin, None)


MAY_READ_BY_DIGEST = {
    "core/beacon_core/model_package/signature.py",  # checks the signature first
    "inference/beacon_inference/explanation/worker.py",  # what the process above it has found signed
    "retraining/beacon_retraining/packaging/install.py",  # what this process has just made
    "retraining/beacon_retraining/pipeline/context.py",  # as above
}
MAY_TRUST_A_DIGEST = {
    "core/beacon_core/model_package/signature.py",
    "console/beacon_console/models/registry.py",  # as defaults of what the services' own callers pass
    "drift-profiling/beacon_drift_profiling/profiling/packages.py",
    "inference/beacon_inference/models/model.py",
    "retraining/beacon_retraining/commands/sign.py",  # signs what a verdict pins
    "retraining/beacon_retraining/pipeline/data_stages.py",  # looks whether the registry has lost bytes
}


def test_no_other_code_reads_a_package_without_asking_who_signed_it() -> None:
    found: dict[str, set[str]] = {"read_package": set(), "DIGEST_ALONE": set()}
    for file in (ROOT / "services").rglob("*.py"):
        names = {node.id for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Name)}
        for name in found.keys() & names:
            found[name].add(file.relative_to(ROOT / "services").as_posix())
    assert found == {"read_package": MAY_READ_BY_DIGEST, "DIGEST_ALONE": MAY_TRUST_A_DIGEST}


def test_a_laptop_makes_its_pair_once_and_signs_what_it_has(tmp_path: Path, product: Product) -> None:
    from beacon_laptop.signing import prepare_keys

    settings = Settings(home=tmp_path)
    pin = build_package(settings.models_dir, product)
    unknown = build_package(settings.models_dir, product, version="2")
    write_release(settings.release_file, Release(model=pin))
    prepare_keys(settings, product.name)
    assert settings.signing_key_file.stat().st_mode & 0o777 == 0o600
    trust = trust_of(settings)
    assert trust.required
    assert load_model(settings.models_dir, pin, product, trust)
    with pytest.raises(PackageError, match="is not signed"):  # nobody has said that it is ours
        load_model(settings.models_dir, unknown, product, trust)
    before = settings.signing_key_file.read_bytes()
    prepare_keys(settings, product.name)
    assert settings.signing_key_file.read_bytes() == before


def test_a_laptop_makes_no_pair_where_the_settings_name_keys_or_a_registry_of_others(
    tmp_path: Path, product: Product
) -> None:
    from beacon_laptop.signing import prepare_keys

    home, public = tmp_path / "home", tmp_path / "public.pem"
    write_key_pair(tmp_path / "private.pem", public)
    for settings in (Settings(home=home, model_keys_file=public), Settings(home=home, mlflow_url="http://mlflow.test")):
        prepare_keys(settings, product.name)
        assert not (home / "keys").exists()
