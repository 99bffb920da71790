"""The stages train and evaluate: a model, and what the gate says of it."""

import msgspec

from beacon_core.domain import verdict
from beacon_core.domain.masking import message_of
from beacon_core.model_package.download import find_or_download
from beacon_core.model_package.manifest import CARD_FILE, Package, PackageError
from beacon_core.platform.files import write_atomically
from beacon_core.platform.job import log
from beacon_retraining.data.row_counts import DatasetFacts, LabelFacts, section
from beacon_retraining.evaluation import verdict_report
from beacon_retraining.evaluation.evaluate import evaluate
from beacon_retraining.evaluation.report import page
from beacon_retraining.files import write_json
from beacon_retraining.packaging.package import export_model
from beacon_retraining.pipeline import context as files
from beacon_retraining.pipeline.context import Context
from beacon_retraining.training.train import train
from beacon_retraining.training.trained_file import decode, encode


def train_model(context: Context) -> str:
    """Search and fit; the model leaves as ONNX, what training found out as JSON."""
    dataset = context.dataset()
    trained = train(dataset, context.product, context.training)
    write_atomically(context.folder / files.MODEL, export_model(dataset, trained))
    write_atomically(context.folder / files.TRAINED, encode(trained))
    best = trained.result
    figures = {"rmse": best.rmse, "pooled_rmse": best.pooled_rmse, "mae": best.mae, "r2": best.r2}
    figures |= {"interval_coverage": trained.measured_coverage, "rows": len(dataset.target)}
    figures |= {f"candidates/{result.name}/rmse": result.rmse for result in trained.results}
    write_json(context.folder / files.METRICS, figures)
    return f"{trained.candidate}, cross-validated RMSE {best.rmse:.2f}"


def evaluate_model(context: Context) -> str:
    """Hold the package against the champion, and write the verdict."""
    champion = _champion(context)
    package = context.package()
    if champion is not None and champion.sha256 == package.sha256:
        champion = None  # it is the champion itself, made again
    known = decode((context.folder / files.TRAINED).read_bytes()).assessment.held_out
    said = evaluate(context.settings, context.product, context.dataset(), package, champion, context.training, known)
    write_atomically(context.folder / files.VERDICT, verdict.encode(said))
    table, plot = verdict_report.table(said), context.folder / files.VERDICT_PLOT
    write_atomically(context.folder / files.VERDICT_TABLE, table.encode())
    verdict_report.plot(said, plot)
    title = f"{said.product} version {said.challenger.version}: {said.outcome}"
    card = (package.folder / CARD_FILE).read_text(encoding="utf-8")
    report = page(title, table, plot.read_text(encoding="utf-8"), _rows_section(context) + card)
    write_atomically(context.folder / files.REPORT, report.encode())
    return f"{said.outcome}: {said.reason}"


def _rows_section(context: Context) -> str:
    facts = msgspec.json.decode((context.folder / files.FACTS).read_bytes(), type=DatasetFacts)
    labels = msgspec.json.decode((context.folder / files.VALIDATION).read_bytes(), type=LabelFacts)
    return section(facts, labels, context.product.min_features)


def _champion(context: Context) -> Package | None:
    pin = context.champion()
    if pin is None:
        return None
    try:
        return find_or_download(context.settings.mlflow_address, pin, context.settings.models_dir)
    except PackageError as error:
        # Nobody can compare with what is gone: the challenger has its own limits to hold, and promotion still holds it
        # against the model that serves.
        log.warning("the champion, version %s, cannot be compared with: %s", pin.version, message_of(error))
        return None
