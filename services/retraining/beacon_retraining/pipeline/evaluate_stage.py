"""The stage evaluate: the gate's verdict on the new package."""

from pathlib import Path

import msgspec

from beacon_core.domain import verdict
from beacon_core.domain.masking import message_of
from beacon_core.domain.pins import Pin
from beacon_core.domain.verdict import Verdict
from beacon_core.model_package.download import find_or_download
from beacon_core.model_package.manifest import CARD_FILE, EFFECTS_FILE, Package, PackageError
from beacon_core.model_package.signature import trust_of
from beacon_core.platform.files import write_atomically
from beacon_core.platform.job import log
from beacon_core.platform.settings import Settings
from beacon_retraining.data.row_counts import DatasetSummary, LabelCounts, rows_section
from beacon_retraining.evaluation import verdict_report
from beacon_retraining.evaluation.evaluate import evaluate
from beacon_retraining.evaluation.gate import Mask
from beacon_retraining.evaluation.report import page
from beacon_retraining.pipeline import context as files
from beacon_retraining.pipeline.context import Context
from beacon_retraining.pipeline.run_dataset import dataset_of_run
from beacon_retraining.pipeline.workspace import read_entry_point
from beacon_retraining.training.trained_file import decode


def evaluate_model(context: Context) -> str:
    """Compare the package with the champion, and write the verdict."""
    champion = read_champion(context.settings, context.champion())
    package = context.package()
    if champion is not None and champion.sha256 == package.sha256:
        champion = None  # it is the champion itself
    dataset = dataset_of_run(context)

    def known() -> Mask | None:
        if champion is None:
            return None
        # MLflow takes seconds, and only this needs it.
        from beacon_retraining.pipeline.registered_rows import rows_known_to  # noqa: PLC0415
        from beacon_retraining.registry.register import Registry  # noqa: PLC0415

        registry = Registry(context.settings.mlflow_address)
        return rows_known_to(registry, context.product, dataset, champion.manifest.version)

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


def read_champion(settings: Settings, pin: Pin | None) -> Package | None:
    """The package of the model in service; None without one, and where it is lost."""
    if pin is None:
        return None
    try:
        return find_or_download(settings.mlflow_address, pin, settings.models_dir, trust_of(settings))
    except PackageError as error:
        # A lost champion cannot be compared with: the challenger has limits of its own, and promotion still compares it
        # with the model in service.
        log.warning("the champion, version %s, cannot be compared with: %s", pin.version, message_of(error))
        return None
