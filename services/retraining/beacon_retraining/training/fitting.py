"""Fitting: a model spec and its imputation on some rows, and its predictions of others."""

import msgspec
import numpy as np
from threadpoolctl import threadpool_limits

from beacon_core.domain.schema import Schema
from beacon_retraining.data.dataset import Dataset, Matrix
from beacon_retraining.training.estimators import TableModel
from beacon_retraining.training.imputation import fit_fill, model_columns
from beacon_retraining.training.model_specs import ModelSpec
from beacon_retraining.training.splits import Index

PREDICTION_BATCH_ROWS = 2000
"""Rows: a call has overhead, and a kernel's matrix is as wide as the training rows."""


class FittedModel(msgspec.Struct, frozen=True):
    """A model with the values that it gets for missing ones, shape (features,)."""

    regressor: TableModel
    fill: Matrix
    schema: Schema

    def columns(self, features: Matrix, seconds: Matrix) -> Matrix:
        """The model's columns of features (rows, features) at event times (rows)."""
        return model_columns(features, self.fill, self.schema, seconds)

    def predict(self, features: Matrix, seconds: Matrix) -> Matrix:
        """Predictions, shape (rows,)."""
        return predict(self.regressor, self.columns(features, seconds))


def predict(regressor: TableModel, columns: Matrix) -> Matrix:
    """Predictions of any number of rows, shape (rows,); on one thread: several wait for each other."""
    parts = np.array_split(columns, max(1, -(-len(columns) // PREDICTION_BATCH_ROWS)))
    with threadpool_limits(1):
        return np.concatenate([regressor.predict(part) for part in parts])


def fit(spec: ModelSpec, dataset: Dataset, seed: int, rows: Index | None = None) -> FittedModel:
    """The spec fitted to all rows, or to some, on one thread: with more, the last bits of a sum may change."""
    chosen = slice(None) if rows is None else rows
    features = dataset.features[chosen]
    fill = fit_fill(features, dataset.schema)
    columns = model_columns(features, fill, dataset.schema, dataset.seconds[chosen])
    weights = None if dataset.weights is None else dataset.weights[chosen]
    with threadpool_limits(1):
        regressor = spec.build(seed, dataset).fit(columns, dataset.target[chosen], weights)
    return FittedModel(regressor, fill, dataset.schema)
