"""The stages train and evaluate: a model, and the gate's verdict on it."""

import msgspec

from beacon_core.domain import verdict
from beacon_core.domain.masking import message_of
from beacon_core.model_package.download import find_or_download
from beacon_core.model_package.manifest import CARD_FILE, Package, PackageError
from beacon_core.platform.files import write_atomically
from beacon_core.platform.job import log
from beacon_retraining.data.row_counts import DatasetSummary, LabelCounts, rows_section
from beacon_retraining.evaluation import verdict_report
from beacon_retraining.evaluation.evaluate import evaluate
from beacon_retraining.evaluation.report import page
from beacon_retraining.files import write_json
from beacon_retraining.packaging.card import figure
from beacon_retraining.packaging.package import export_model
from beacon_retraining.pipeline import context as files
from beacon_retraining.pipeline.context import Context
from beacon_retraining.training.train import train
from beacon_retraining.training.trained_file import decode, encode


def train_model(context: Context) -> str:
    """Compare and fit; writes the model as ONNX and the training's results as JSON."""
    dataset = context.dataset()
    models: list[bytes] = []
    trained = train(
        dataset, context.product, context.training, lambda fitted: models.append(export_model(dataset, fitted))
    )
    for name, reason in trained.rejected.items():
        log.warning("%s cannot be used, the next best is: %s", name, reason)
    write_atomically(context.folder / files.MODEL, models[-1])
    write_atomically(context.folder / files.TRAINED, encode(trained))
    best = trained.result
    figures = {"rmse": best.rmse, "pooled_rmse": best.pooled_rmse, "mae": best.mae, "r2": best.r2}
    figures |= {"interval_coverage": trained.measured_coverage, "rows": len(dataset.target)}
    figures |= {f"candidates/{result.name}/rmse": result.rmse for result in trained.results}
    write_json(context.folder / files.METRICS, figures)
    return f"{trained.algorithm}, cross-validated RMSE {figure(best.rmse)}"


def evaluate_model(context: Context) -> str:
    """Compare the package with the champion, and write the verdict."""
    champion = _champion(context)
    package = context.package()
    if champion is not None and champion.sha256 == package.sha256:
        champion = None  # it is the champion itself
    held_out = decode((context.folder / files.TRAINED).read_bytes()).assessment.held_out
    gate_verdict = evaluate(
        context.settings, context.product, context.dataset(), package, champion, context.training, held_out
    )
    write_atomically(context.folder / files.VERDICT, verdict.encode(gate_verdict))
    table, plot = verdict_report.table(gate_verdict), context.folder / files.VERDICT_PLOT
    write_atomically(context.folder / files.VERDICT_TABLE, table.encode())
    verdict_report.plot(gate_verdict, plot)
    title = f"{gate_verdict.product} version {gate_verdict.challenger.version}: {gate_verdict.outcome}"
    card = (package.folder / CARD_FILE).read_text(encoding="utf-8")
    report = page(title, table, plot.read_text(encoding="utf-8"), _rows_section(context) + card)
    write_atomically(context.folder / files.REPORT, report.encode())
    return f"{gate_verdict.outcome}: {gate_verdict.reason}"


def _rows_section(context: Context) -> str:
    summary = msgspec.json.decode((context.folder / files.DATASET_SUMMARY).read_bytes(), type=DatasetSummary)
    labels = msgspec.json.decode((context.folder / files.VALIDATION).read_bytes(), type=LabelCounts)
    return rows_section(summary, labels, context.product.min_features)


def _champion(context: Context) -> Package | None:
    pin = context.champion()
    if pin is None:
        return None
    try:
        return find_or_download(context.settings.mlflow_address, pin, context.settings.models_dir)
    except PackageError as error:
        # A lost champion cannot be compared with: the challenger has limits of its own, and promotion still compares it
        # with the model in service.
        log.warning("the champion, version %s, cannot be compared with: %s", pin.version, message_of(error))
        return None
