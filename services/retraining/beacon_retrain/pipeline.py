"""The road from data to a registered model package, in one screen."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from beacon_core.manifest import Package
from beacon_core.product import Product
from beacon_core.release import Pin, Release, read_release, write_release
from beacon_core.settings import Settings
from beacon_retrain.fetch import fetch
from beacon_retrain.history import load_dataset
from beacon_retrain.offline import write_offline
from beacon_retrain.package import Origin, write_package
from beacon_retrain.register import Registry, RegistryError
from beacon_retrain.train import TrainSettings, train
from beacon_retrain.validate import validate
from feature_repo import repo

Tell = Callable[[str], None]


def retrain(settings: Settings, product: Product, training: TrainSettings, tell: Tell) -> Package:
    """Fetch, validate, fill the feature store, train, package, register; `tell` gets a line for each stage.

    The first model is released at once; a later one waits to be promoted. Raises each stage's own error.
    """
    registry = Registry(settings.mlflow_address)
    first = not settings.release_file.exists()
    with _stage("registry", tell) as note:
        version = registry.next_version(product.name)
        _check_free(settings, product, version)
        note(f"the next version is {version}")
    with _stage("fetch", tell) as note:
        fetched = fetch(settings, product, check=lambda file: validate(file, product))
        note(f"{fetched.source}: {fetched.why}")
    with _stage("validate", tell) as note:
        rows = validate(fetched.file, product)
        note(f"{len(rows)} rows")
    with _stage("features", tell) as note:
        write_offline(settings, product, rows, datetime.now(UTC))
        repo.apply(settings, product)
        note(f"{repo.materialize(settings, product).rows} rows online")
        dataset = load_dataset(settings, product)
    with _stage("train", tell) as note:
        trained = train(dataset, product, training)
        note(f"{trained.candidate}, cross-validated RMSE {trained.result.rmse:.2f}")
    with _stage("package", tell) as note:
        origin = Origin(version, fetched.source, settings.build_revision, datetime.now(UTC))
        package = write_package(settings.models_dir, product, dataset, trained, training, origin)
        note(f"{package.folder}, sha256 {package.sha256[:12]}")
    with _stage("register", tell) as note:
        registry.register(product, package, trained, training, champion=first)
        note(f"{product.name} version {version}{' is champion' if first else ' waits for promotion'}")
    if first:
        pin = Pin(product.name, version, package.sha256)
        write_release(settings.release_file, Release(model=pin))
    return package


def _check_free(settings: Settings, product: Product, version: str) -> None:
    """A registry that was emptied must not make us overwrite the package in service."""
    if not settings.release_file.exists():
        return
    release = read_release(settings.release_file)
    if version in {pin.version for pin in (release.model, release.shadow) if pin and pin.name == product.name}:
        raise RegistryError(f"MLflow would give version {version}, which is in service: was its database emptied?")


@contextmanager
def _stage(name: str, tell: Tell) -> Iterator[Tell]:
    """Tell what a stage did and how long it took, once it has ended well."""
    notes: list[str] = []
    start = time.monotonic()
    yield notes.append
    tell(f"{name:<9} {'; '.join(notes)} ({time.monotonic() - start:.1f} s)")
