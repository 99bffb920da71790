"""The stage package: a model as the folder that inference serves, under the version that comes next."""

import hashlib
import shutil

import msgspec

from beacon_core import clock
from beacon_core.manifest import digest
from beacon_core.release import read_release
from beacon_retrain import context as files
from beacon_retrain.context import Context, Packaged
from beacon_retrain.fetch import read_source
from beacon_retrain.files import write_json
from beacon_retrain.package import Origin, write_package
from beacon_retrain.register import Registry, RegistryError
from beacon_retrain.trained_file import decode
from beacon_retrain.workspace import CODE, params_of


def package_model(context: Context) -> str:
    """Make the package, under the version that the registry will give to it.

    Equal data, parameters and code are one model: where the registry knows it, its package is taken.
    """
    product, folder = context.product, context.folder
    registry = Registry(context.settings.mlflow_address)
    models = folder / files.PACKAGE
    shutil.rmtree(models, ignore_errors=True)
    key = run_key(context)
    known = registry.version_of(product.name, "run_key", key)
    if known is not None:
        package = registry.bring(product.name, known, models)
        told = f"version {known} is from equal data, parameters and code already"
    else:
        version = registry.next_version(product.name)
        _check_free(context, version)
        origin = Origin(
            version, read_source(folder / files.RAW, product).source, context.settings.build_revision, clock.now()
        )
        trained = decode((folder / files.TRAINED).read_bytes())
        model = (folder / files.MODEL).read_bytes()
        package = write_package(models, product, context.dataset(), trained, context.training, origin, model)
        told = f"version {version}"
    write_json(folder / files.PACKAGED, Packaged(package.manifest.version, package.sha256, key))
    return f"{told}, sha256 {package.sha256[:12]}, model {digest(package.model)[:12]}"


def run_key(context: Context) -> str:
    """sha256 over all that the model follows from: the data, the parameters, the schema, the code."""
    facts = {
        "data": context.dataset().fingerprint,
        "params": params_of(context.training),
        "schema": context.product.schema_hash,
        "code": (context.folder / CODE).read_text(),
    }
    return hashlib.sha256(msgspec.json.encode(facts, order="deterministic")).hexdigest()


def _check_free(context: Context, version: str) -> None:
    """A registry that was emptied must not make us overwrite the package in service."""
    file = context.settings.release_file
    release = read_release(file) if file.exists() else None
    pins = (release.model, release.shadow) if release else ()
    if version in {pin.version for pin in pins if pin and pin.name == context.product.name}:
        raise RegistryError(f"MLflow would give version {version}, which is in service: was its database emptied?")
