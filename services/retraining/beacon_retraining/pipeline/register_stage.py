"""The stage register: the package as a version of the registry, with its verdict.

A module of its own, since it needs no training library: loading those takes seconds.
"""

import msgspec

from beacon_core.data import verdicts
from beacon_core.domain import verdict
from beacon_core.domain.pins import Pin
from beacon_core.model_package.download import CHALLENGER, CHAMPION
from beacon_core.model_package.release import Release, write_release
from beacon_retraining.data.row_counts import DatasetSummary, LabelCounts
from beacon_retraining.errors import RetrainError
from beacon_retraining.files import write_json
from beacon_retraining.packaging.install import install
from beacon_retraining.pipeline import context as files
from beacon_retraining.pipeline.context import Context, PackagingResult, RegistrationResult
from beacon_retraining.pipeline.workspace import CODE, LOCK, params_of
from beacon_retraining.registry import register
from beacon_retraining.registry.register import Registry, RegistryEntry, VersionTakenError


class RegistrationRefusedError(RetrainError):
    """The gate failed the first model, so none can serve."""


def register_model(context: Context) -> str:
    """Register the package with its verdict; the first model goes into service, a later one waits for promotion."""
    settings, product, folder = context.settings, context.product, context.folder
    packaged, package = context.packaged(), context.package()
    version = packaged.version
    gate_verdict = verdict.decode((folder / files.VERDICT).read_bytes())
    champion = context.champion()
    in_service = champion is not None and champion.sha256 == package.sha256
    released = champion is None and gate_verdict.outcome != "fail"
    alias = CHAMPION if released or in_service else CHALLENGER
    registry = Registry(settings.mlflow_address)
    try:
        run_id = registry.register(product, package, _entry(context, packaged), alias)
    except VersionTakenError:
        context.add_lost_package(package.sha256)  # so that it is packaged again
        raise
    install(package, settings.models_dir)
    registry.tag(product.name, version, verdict=gate_verdict.outcome)
    if verdicts.newest(context.engine, product.name, version, package.sha256) != gate_verdict:
        verdicts.record(context.engine, gate_verdict)
    if champion is None and not released:
        raise RegistrationRefusedError(f"version {version} is registered, and not released: {gate_verdict.reason}")
    if released:
        write_release(settings.release_file, Release(model=Pin(product.name, version, package.sha256)))
    write_json(folder / files.REGISTERED, RegistrationResult(version, package.sha256, run_id, gate_verdict.outcome))
    state = "is champion" if released else "is in service already" if in_service else "waits for promotion"
    return f"{product.name} version {version} {state}; verdict: {gate_verdict.outcome}"


def _entry(context: Context, packaged: PackagingResult) -> RegistryEntry:
    folder = context.folder
    summary = msgspec.json.decode((folder / files.DATASET_SUMMARY).read_bytes(), type=DatasetSummary)
    params = {name: str(value) for name, value in params_of(context.training).items()}
    params |= {"data.fingerprint": summary.fingerprint, "data.rows": str(summary.rows), "trigger": context.run.trigger}
    params |= {"data.unlabelled_rows": str(summary.left_out.base_unlabelled)}
    params |= {"data.production_rows": str(summary.production_rows), "schema_hash": context.product.schema.digest}
    params |= {"candidate": context.package().manifest.algorithm}
    metrics = msgspec.json.decode((folder / files.METRICS).read_bytes(), type=dict[str, float])
    labels = msgspec.json.decode((folder / files.VALIDATION).read_bytes(), type=LabelCounts)
    metrics |= {f"left_out/{name}": count for name, count in summary.left_out.counts().items()}
    metrics |= {"labels": float(labels.labels), "left_out/refused": float(labels.labels_refused)}
    data = tuple(folder / name for name in (files.DATASET, files.DATASET_SUMMARY, files.VALIDATION))
    pipeline = tuple(file for file in (folder / LOCK, folder / CODE) if file.is_file())
    verdict_files = tuple(
        folder / name for name in (files.VERDICT, files.VERDICT_TABLE, files.VERDICT_PLOT, files.REPORT)
    )
    artifacts = {register.DATA: data, "pipeline": pipeline, "verdict": verdict_files}
    return RegistryEntry(packaged.run_key, params, metrics, artifacts)
