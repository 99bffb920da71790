"""The stage register: the package as a version of the registry, with its verdict.

A module of its own, since it needs no training library: loading those takes seconds.
"""

import msgspec

from beacon_core.domain import verdict
from beacon_retraining.data.row_counts import DatasetSummary, LabelCounts
from beacon_retraining.files import write_json
from beacon_retraining.pipeline import context as files
from beacon_retraining.pipeline.context import Context, PackagingResult, RegistrationResult
from beacon_retraining.pipeline.publish import publish
from beacon_retraining.pipeline.workspace import CODE, LOCK, params_of
from beacon_retraining.registry import register
from beacon_retraining.registry.register import RegistryEntry, VersionTakenError


def register_model(context: Context) -> str:
    """Register the package with its verdict; the first model goes into service, a later one waits for promotion."""
    product, folder = context.product, context.folder
    packaged, package = context.packaged(), context.package()
    gate_verdict = verdict.decode((folder / files.VERDICT).read_bytes())
    entry, champion = _entry(context, packaged), context.champion()
    try:
        run_id, state = publish(context.settings, product, context.engine, package, entry, gate_verdict, champion)
    except VersionTakenError:
        context.add_lost_package(package.sha256)  # so that it is packaged again
        raise
    result = RegistrationResult(packaged.version, package.sha256, run_id, gate_verdict.outcome)
    write_json(folder / files.REGISTERED, result)
    return f"{product.name} version {packaged.version} {state}; verdict: {gate_verdict.outcome}"


def _entry(context: Context, packaged: PackagingResult) -> RegistryEntry:
    folder = context.folder
    summary = msgspec.json.decode((folder / files.DATASET_SUMMARY).read_bytes(), type=DatasetSummary)
    params = {name: str(value) for name, value in params_of(context.training).items() if value is not None}
    stated = msgspec.structs.asdict(context.product.training)
    params |= {f"training.{name}": str(value) for name, value in stated.items()}
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
    search = (folder / files.TRIALS,)
    artifacts = {register.DATA: data, "search": search, "pipeline": pipeline, "verdict": verdict_files}
    return RegistryEntry(packaged.run_key, params, metrics, artifacts)
