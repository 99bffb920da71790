"""Publish: a package with its verdict into the registry and the store; the first model goes into service."""

from typing import NamedTuple

from beacon_core.data import verdicts
from beacon_core.data.database import Engine
from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product
from beacon_core.domain.verdict import Verdict
from beacon_core.model_package.download import CHALLENGER, CHAMPION
from beacon_core.model_package.manifest import Package
from beacon_core.model_package.release import Release, write_release
from beacon_core.model_package.signature import sign, signer_of
from beacon_core.platform.settings import Settings
from beacon_retraining.errors import RetrainError
from beacon_retraining.packaging.install import install
from beacon_retraining.registry.register import Registry, RegistryEntry


class RegistrationRefusedError(RetrainError):
    """The gate failed the first model, so none can serve."""


class Published(NamedTuple):
    """The run in MLflow, and what became of the version, for the log."""

    run_id: str
    state: str


def publish(
    settings: Settings,
    product: Product,
    engine: Engine,
    package: Package,
    entry: RegistryEntry,
    verdict: Verdict,
    champion: Pin | None,
) -> Published:
    """Sign a package and register it with its verdict.

    Raises `RegistrationRefusedError`, `SigningKeyError`, and the registry's errors.

    The first model goes into service unless the gate failed it; a later one waits for promotion.
    """
    version, sha256 = package.manifest.version, package.sha256
    in_service = champion is not None and champion.sha256 == sha256
    released = champion is None and verdict.outcome != "fail"
    key = signer_of(settings)
    signature = None if key is None else sign(key, sha256)
    registry = Registry(settings.mlflow_address)
    alias = CHAMPION if released or in_service else CHALLENGER
    run_id = registry.register(product, package, entry, alias, signature)
    install(package, settings.models_dir, signature)
    registry.tag(product.name, version, verdict=verdict.outcome)
    if verdicts.newest(engine, product.name, version, sha256) != verdict:
        verdicts.record(engine, verdict)
    if champion is None and not released:
        raise RegistrationRefusedError(f"version {version} is registered, and not released: {verdict.reason}")
    if released:
        write_release(settings.release_file, Release(model=Pin(product.name, version, sha256)))
    state = "is champion" if released else "is in service already" if in_service else "waits for promotion"
    return Published(run_id, state)
