"""The stages package and register: a model as a version that the registry knows."""

import hashlib
import shutil
from typing import Any

import msgspec
import numpy as np

from beacon_core import clock
from beacon_core.manifest import digest
from beacon_core.release import Pin, Release, read_release, write_release
from beacon_retrain import context as files
from beacon_retrain import register, verdict
from beacon_retrain.context import Context, Packaged, Registered
from beacon_retrain.errors import RetrainError
from beacon_retrain.fetch import read_source
from beacon_retrain.files import write_json
from beacon_retrain.install import install
from beacon_retrain.package import Origin, write_package
from beacon_retrain.register import Entry, Registry, RegistryError, VersionTaken
from beacon_retrain.train import Trained
from beacon_retrain.workspace import CODE, LOCK, params_of


class Refused(RetrainError):  # noqa: N818 - an outcome, not a mistake
    """The gate refuses the only model there is."""


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
        trained = msgspec.json.decode((folder / files.TRAINED).read_bytes(), type=Trained, dec_hook=_as_array)
        model = (folder / files.MODEL).read_bytes()
        package = write_package(models, product, context.dataset(), trained, context.training, origin, model)
        told = f"version {version}"
    write_json(folder / files.PACKAGED, Packaged(package.manifest.version, package.sha256, key))
    return f"{told}, sha256 {package.sha256[:12]}, model {digest(package.model)[:12]}"


def register_model(context: Context) -> str:
    """Register the package with its verdict; the first model goes into service, a later one waits for promotion."""
    settings, product, folder = context.settings, context.product, context.folder
    packaged, package = context.packaged(), context.package()
    version = packaged.version
    said = verdict.decode((folder / files.VERDICT).read_bytes())
    champion = context.champion()
    in_service = champion is not None and champion.sha256 == package.sha256
    released = champion is None and said.outcome != "fail"
    alias = register.CHAMPION if released or in_service else register.CHALLENGER
    registry = Registry(settings.mlflow_address)
    try:
        run_id = registry.register(product, package, _entry(context, packaged), alias)
    except VersionTaken:
        shutil.rmtree(folder / files.PACKAGE)  # so that the next run packages it anew
        raise
    install(package, settings.models_dir)
    registry.tag(product.name, version, verdict=said.outcome)
    if verdict.newest(context.engine, product.name, version, package.sha256) != said:
        verdict.record(context.engine, said)
    if champion is None and not released:
        raise Refused(f"version {version} is registered, and not released: {said.reason}")
    if released:
        write_release(settings.release_file, Release(model=Pin(product.name, version, package.sha256)))
    write_json(folder / files.REGISTERED, Registered(version, package.sha256, run_id, said.outcome))
    state = "is champion" if released else "is in service already" if in_service else "waits for promotion"
    return f"{product.name} version {version} {state}; verdict: {said.outcome}"


def run_key(context: Context) -> str:
    """sha256 over all that the model follows from: the data, the parameters, the schema, the code."""
    facts = {
        "data": context.dataset().fingerprint,
        "params": params_of(context.training),
        "schema": context.product.schema_hash,
        "code": (context.folder / CODE).read_text(),
    }
    return hashlib.sha256(msgspec.json.encode(facts, order="deterministic")).hexdigest()


def _entry(context: Context, packaged: Packaged) -> Entry:
    folder = context.folder
    facts = msgspec.json.decode((folder / files.FACTS).read_bytes(), type=files.DatasetFacts)
    params = {name: str(value) for name, value in params_of(context.training).items()}
    params |= {"data.fingerprint": facts.fingerprint, "data.rows": str(facts.rows), "trigger": context.run.trigger}
    params |= {"data.production_rows": str(facts.production_rows), "schema_hash": context.product.schema_hash}
    params |= {"candidate": context.package().manifest.algorithm}
    metrics = msgspec.json.decode((folder / files.METRICS).read_bytes(), type=dict[str, float])
    data = tuple(folder / name for name in (files.DATASET, files.FACTS, files.VALIDATION))
    pipeline = tuple(file for file in (folder / LOCK, folder / CODE) if file.is_file())
    told = tuple(folder / name for name in (files.VERDICT, files.VERDICT_TABLE, files.VERDICT_PLOT))
    artifacts = {register.DATA: data, "pipeline": pipeline, "verdict": told}
    return Entry(packaged.run_key, params, metrics, artifacts)


def _check_free(context: Context, version: str) -> None:
    """A registry that was emptied must not make us overwrite the package in service."""
    file = context.settings.release_file
    release = read_release(file) if file.exists() else None
    pins = (release.model, release.shadow) if release else ()
    if version in {pin.version for pin in pins if pin and pin.name == context.product.name}:
        raise RegistryError(f"MLflow would give version {version}, which is in service: was its database emptied?")


def _as_array(_kind: Any, value: Any) -> Any:
    return np.asarray(value, dtype=np.float64)
