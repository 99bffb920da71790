"""The stages train and evaluate: a model, and the gate's verdict on it."""

from pathlib import Path

import msgspec

from beacon_core.domain import verdict
from beacon_core.domain.masking import message_of
from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product
from beacon_core.domain.verdict import Verdict
from beacon_core.model_package.download import find_or_download
from beacon_core.model_package.manifest import CARD_FILE, EFFECTS_FILE, Package, PackageError, digest
from beacon_core.platform.files import write_atomically
from beacon_core.platform.job import log
from beacon_core.platform.settings import Settings
from beacon_retraining.data.dataset import Dataset
from beacon_retraining.data.row_counts import DatasetSummary, LabelCounts, rows_section
from beacon_retraining.evaluation import verdict_report
from beacon_retraining.evaluation.evaluate import evaluate
from beacon_retraining.evaluation.gate import Mask
from beacon_retraining.evaluation.known_rows import known_rows
from beacon_retraining.evaluation.report import page
from beacon_retraining.files import write_json
from beacon_retraining.packaging.figures import figure
from beacon_retraining.packaging.package import ExportedModel, export_compared, export_spread
from beacon_retraining.pipeline import context as files
from beacon_retraining.pipeline.context import Context
from beacon_retraining.pipeline.run_dataset import dataset_of_run
from beacon_retraining.pipeline.workspace import CODE, read_entry_point
from beacon_retraining.registry.register import Registry, RegistryRefusedError
from beacon_retraining.training.journal import JOURNAL_FILE, JournalFile
from beacon_retraining.training.train import ModelExport, train
from beacon_retraining.training.trained_file import decode, encode


def train_model(context: Context) -> str:
    """Compare and fit; writes the model as ONNX and the training's results as JSON."""
    dataset = dataset_of_run(context)
    models: list[ExportedModel] = []
    trained = train(
        dataset,
        context.product,
        context.training,
        lambda fitted: models.append(export_compared(dataset, fitted)),
        JournalFile(context.folder / JOURNAL_FILE, (context.folder / CODE).read_text()),
        read_entry_point(context.folder),
    )
    for name, reason in trained.rejected.items():
        log.warning("%s cannot be used, the next best is: %s", name, reason)
    content, parity = models[-1]
    content = export_spread(content, dataset, trained)
    trained = msgspec.structs.replace(trained, export=ModelExport(digest(content), parity))
    write_atomically(context.folder / files.MODEL, content)
    write_atomically(context.folder / files.TRAINED, encode(trained))
    write_json(context.folder / files.TRIALS, {"summary": trained.summary, "trials": trained.trials})
    best = trained.result
    figures = {"rmse": best.rmse, "pooled_rmse": best.pooled_rmse, "mae": best.mae, "r2": best.r2}
    figures |= {"interval_coverage": trained.measured_coverage, "rows": len(dataset.target)}
    figures |= {f"candidates/{result.name}/rmse": result.rmse for result in trained.results}
    figures |= {f"search/{name}": getattr(trained.summary, name) for name in ("trials", "pruned", "failed")}
    write_json(context.folder / files.METRICS, figures)
    return f"{trained.algorithm}, cross-validated RMSE {figure(best.rmse)}"


def evaluate_model(context: Context) -> str:
    """Compare the package with the champion, and write the verdict."""
    champion = read_champion(context.settings, context.champion())
    package = context.package()
    if champion is not None and champion.sha256 == package.sha256:
        champion = None  # it is the champion itself
    dataset = dataset_of_run(context)

    def known() -> Mask | None:
        registry = Registry(context.settings.mlflow_address)
        return (
            None if champion is None else rows_known_to(registry, context.product, dataset, champion.manifest.version)
        )

    trained = decode((context.folder / files.TRAINED).read_bytes())
    gate_verdict = evaluate(
        context.settings,
        context.product,
        dataset,
        package,
        champion,
        context.training,
        trained.assessment.held_out,
        exported=trained.export,
        code=read_entry_point(context.folder),
        known=known,
    )
    write_reports(context.folder, gate_verdict, package, _rows_section(context))
    return f"{gate_verdict.outcome}: {gate_verdict.reason}"


def write_reports(folder: Path, gate_verdict: Verdict, package: Package, rows_text: str) -> None:
    """Write the verdict, its table, its plot, and the report of the package with `rows_text` (Markdown)."""
    write_atomically(folder / files.VERDICT, verdict.encode(gate_verdict))
    table, plot = verdict_report.table(gate_verdict), folder / files.VERDICT_PLOT
    write_atomically(folder / files.VERDICT_TABLE, table.encode())
    verdict_report.plot(gate_verdict, plot)
    title = f"{gate_verdict.product} version {gate_verdict.challenger.version}: {gate_verdict.outcome}"
    card = (package.folder / CARD_FILE).read_text(encoding="utf-8")
    effects = package.folder / EFFECTS_FILE
    picture = effects.read_text(encoding="utf-8") if effects.is_file() else ""
    report = page(title, table, plot.read_text(encoding="utf-8"), rows_text + card, picture)
    write_atomically(folder / files.REPORT, report.encode())


def _rows_section(context: Context) -> str:
    summary = msgspec.json.decode((context.folder / files.DATASET_SUMMARY).read_bytes(), type=DatasetSummary)
    labels = msgspec.json.decode((context.folder / files.VALIDATION).read_bytes(), type=LabelCounts)
    return rows_section(summary, labels, context.product.min_features)


def rows_known_to(registry: Registry, product: Product, dataset: Dataset, version: str) -> Mask | None:
    """Which rows a version was trained on; None where the registry does not tell."""
    try:
        trained_on = registry.training_rows(product.name, version)
    except (RegistryRefusedError, OSError):
        return None
    return known_rows(product, dataset, trained_on)


def read_champion(settings: Settings, pin: Pin | None) -> Package | None:
    """The package of the model in service; None without one, and where it is lost."""
    if pin is None:
        return None
    try:
        return find_or_download(settings.mlflow_address, pin, settings.models_dir)
    except PackageError as error:
        # A lost champion cannot be compared with: the challenger has limits of its own, and promotion still compares it
        # with the model in service.
        log.warning("the champion, version %s, cannot be compared with: %s", pin.version, message_of(error))
        return None
