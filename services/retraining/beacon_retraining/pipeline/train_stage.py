"""The stage train: a model, searched for and fitted."""

import msgspec

from beacon_core.model_package.manifest import digest
from beacon_core.platform.files import write_atomically
from beacon_core.platform.job import log
from beacon_retraining.files import write_json
from beacon_retraining.packaging.figures import figure
from beacon_retraining.packaging.graph import ExportedModel, export_compared, export_spread
from beacon_retraining.pipeline import context as files
from beacon_retraining.pipeline.context import Context
from beacon_retraining.pipeline.run_dataset import dataset_of_run
from beacon_retraining.pipeline.workspace import CODE, read_entry_point
from beacon_retraining.training.journal import JOURNAL_FILE, JournalFile
from beacon_retraining.training.train import ModelExport, train
from beacon_retraining.training.trained_file import encode


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
