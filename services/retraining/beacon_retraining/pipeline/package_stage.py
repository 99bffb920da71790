"""The stage package: a model as the folder that inference serves, under the version that comes next."""

import hashlib
import shutil
from pathlib import Path

import msgspec

from beacon_core.data import verdicts
from beacon_core.data.database import Engine
from beacon_core.domain.masking import message_of
from beacon_core.domain.product import Product
from beacon_core.model_package.download import download_package
from beacon_core.model_package.manifest import Package, PackageError, digest
from beacon_core.model_package.release import read_release
from beacon_core.model_package.signature import trust_of
from beacon_core.platform import clock
from beacon_core.platform.job import log
from beacon_core.platform.settings import Settings
from beacon_retraining.data.fetch import read_source
from beacon_retraining.files import write_json
from beacon_retraining.packaging.package import PackageOrigin, write_package
from beacon_retraining.pipeline import context as files
from beacon_retraining.pipeline.context import Context, PackagingResult
from beacon_retraining.pipeline.run_dataset import dataset_of_run
from beacon_retraining.pipeline.workspace import CODE, params_of
from beacon_retraining.registry.versions import ListedVersions
from beacon_retraining.training.trained_file import decode


def package_model(context: Context) -> str:
    """Make the package, under the version that the registry will give it.

    Equal data, parameters and code are one model: where the registry has it, its package is used.
    """
    product, folder = context.product, context.folder
    registry = ListedVersions(context.settings.mlflow_address)
    models = folder / files.PACKAGE
    shutil.rmtree(models, ignore_errors=True)
    key = run_key(context)
    package = existing_package(context.settings, registry, context.product.name, key, models)
    if package is not None:
        message = f"version {package.manifest.version} is from equal data, parameters and code already"
    else:
        version = registry.next_version(product.name, above=highest_known(context.settings, product, context.engine))
        source = read_source(folder / files.RAW)
        revision = context.settings.build_revision
        origin = PackageOrigin(version, source.source, revision, clock.now(), source.unlabelled)
        trained = decode((folder / files.TRAINED).read_bytes())
        model = (folder / files.MODEL).read_bytes()
        package = write_package(models, product, dataset_of_run(context), trained, context.training, origin, model)
        message = f"version {version}"
    write_json(folder / files.PACKAGED, PackagingResult(package.manifest.version, package.sha256, key))
    return f"{message}, sha256 {package.sha256[:12]}, model {digest(package.model)[:12]}"


def run_key(context: Context) -> str:
    """sha256 over all inputs of the model: the data, the parameters, schema and training, the code."""
    facts = {
        "data": dataset_of_run(context).fingerprint,
        "params": params_of(context.training),
        "schema": context.product.schema.digest,
        "training": context.product.training,
        "code": (context.folder / CODE).read_text(),
    }
    return hashlib.sha256(msgspec.json.encode(facts, order="deterministic")).hexdigest()


def existing_package(settings: Settings, registry: ListedVersions, name: str, key: str, models: Path) -> Package | None:
    """The package of equal inputs, where the registry still has an intact copy."""
    for pin in registry.versions_of(name, key):
        try:
            package = download_package(settings.mlflow_address, pin, models, trust_of(settings))
        except PackageError as error:
            log.warning("version %s is from equal inputs, and is made again: %s", pin.version, message_of(error))
            continue
        if package.manifest.version == pin.version:
            return package
    return None


def highest_known(settings: Settings, product: Product, engine: Engine) -> int:
    """The highest version that was ever evaluated, installed or in service here.

    The registry may have been emptied, and must not give its number to another package: the prediction log names it.
    """
    file = settings.release_file
    release = read_release(file) if file.exists() else None
    pins = (release.model, release.shadow) if release else ()
    known = [pin.version for pin in pins if pin and pin.name == product.name]
    known += [folder.name for folder in (settings.models_dir / product.name).glob("*")]
    known += verdicts.versions(engine, product.name)
    return max((int(version) for version in known if version.isdecimal()), default=0)
