"""The graph of a package: a fitted model and the spread of its intervals as one ONNX, equal to scikit-learn."""

from typing import NamedTuple

import numpy as np

from beacon_core.domain.value_rules import other_code
from beacon_retraining.data.dataset import Dataset
from beacon_retraining.packaging import export
from beacon_retraining.packaging.entry_point import export_entry_point
from beacon_retraining.packaging.spread_output import add_spread, check_spread
from beacon_retraining.training.columns import columns_of
from beacon_retraining.training.entry_point.model import EntryPointModel
from beacon_retraining.training.fitting import FittedModel
from beacon_retraining.training.imputation import model_columns
from beacon_retraining.training.train import TrainedModel

UNSEEN_ROWS = 100


def export_model(dataset: Dataset, fitted: FittedModel) -> bytes:
    """The model as ONNX; see `export_compared`."""
    return export_compared(dataset, fitted).content


class ExportedModel(NamedTuple):
    """The model as ONNX, and its largest difference from scikit-learn, in the target's unit."""

    content: bytes
    parity: float


def export_compared(dataset: Dataset, fitted: FittedModel) -> ExportedModel:
    """The model as ONNX; raises `ParityError` when it differs from scikit-learn, `ModelSizeError`.

    Compared are all training rows, and some with levels that no training row has.
    """
    features, seconds = dataset.features, dataset.seconds
    unseen = features[:UNSEEN_ROWS].copy()
    for at, feature in enumerate(dataset.schema.features):
        if feature.name in dataset.levels:
            unseen[:, at] = other_code(dataset.levels[feature.name])
    columns = fitted.columns(np.concatenate([features, unseen]), np.concatenate([seconds, seconds[:UNSEEN_ROWS]]))
    if isinstance(fitted.regressor, EntryPointModel):
        return ExportedModel(*export_entry_point(fitted.regressor, columns, dataset.spread))
    model = export.to_onnx(fitted.regressor, columns.shape[1])
    export.check_size(model)
    return ExportedModel(model, export.check_parity(model, fitted.regressor, columns, dataset.spread))


def export_spread(model: bytes, dataset: Dataset, trained: TrainedModel) -> bytes:
    """The exported model with the spread of its intervals; raises `ParityError` when that differs from scikit-learn."""
    spread = trained.interval.spread
    content = add_spread(model, spread)
    columns = model_columns(dataset.features, trained.fill, dataset.schema, dataset.seconds)
    levels = [at for at, column in enumerate(columns_of(dataset.schema, dataset.levels)) if column.kind == "text"]
    check_spread(content, spread, columns, levels)
    export.check_size(content)
    return content
