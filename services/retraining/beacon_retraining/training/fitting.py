"""Fitting: a recipe and its imputation on some rows, and its predictions of others."""

import msgspec
import numpy as np
from threadpoolctl import threadpool_limits

from beacon_core.domain.schema import Schema
from beacon_core.model_package.recipe import Recipe
from beacon_retraining.data.dataset import Dataset, Matrix
from beacon_retraining.training.batches import batches
from beacon_retraining.training.entry_point.model import EntryPointModel
from beacon_retraining.training.estimators import TableModel
from beacon_retraining.training.imputation import fit_fill, model_columns
from beacon_retraining.training.recipes import build
from beacon_retraining.training.splits import Index

ALONE_THREADS = 2
"""Of a fit that runs alone, whatever the machine has: the last bits of a sum over rows depend on their number."""
ALONE_ROWS = 100_000
"""Of fewer rows a fit alone is on one thread, too: threads that wait for each other at each leaf would gain nothing."""
PREDICTION_BATCH_ROWS = 2000
"""Rows: a call has overhead, and a kernel's matrix is as wide as the training rows."""


class FittedModel(msgspec.Struct, frozen=True):
    """A model with the values that it gets for missing ones, shape (features,)."""

    regressor: TableModel | EntryPointModel
    fill: Matrix
    schema: Schema

    def columns(self, features: Matrix, seconds: Matrix) -> Matrix:
        """The model's columns of features (rows, features) at event times (rows)."""
        return model_columns(features, self.fill, self.schema, seconds)

    def predict(self, features: Matrix, seconds: Matrix) -> Matrix:
        """Predictions of any number of rows, shape (rows,); on one thread: several wait for each other."""
        with threadpool_limits(1):
            return np.concatenate(
                [
                    self.regressor.predict(self.columns(features[part], seconds[part]))
                    for part in batches(len(features), PREDICTION_BATCH_ROWS)
                ]
            )


def fit_alone(recipe: Recipe, dataset: Dataset, seed: int) -> FittedModel:
    """The recipe fitted to all rows while no other fit runs."""
    return fit(recipe, dataset, seed, threads=ALONE_THREADS if len(dataset.target) >= ALONE_ROWS else 1)


def fit(recipe: Recipe, dataset: Dataset, seed: int, rows: Index | None = None, *, threads: int = 1) -> FittedModel:
    """The recipe fitted to all rows, or to some; only boosting over bins uses more threads than one.

    Equal inputs and `threads` give an equal model, on any machine.
    """
    chosen = slice(None) if rows is None else rows
    features = dataset.features[chosen]
    fill = fit_fill(features, dataset.schema)
    columns = model_columns(features, fill, dataset.schema, dataset.seconds[chosen])
    del features  # a copy, where the rows are some: the fit needs the memory
    weights = None if dataset.weights is None else dataset.weights[chosen]
    with threadpool_limits({"openmp": threads, "blas": 1}):
        regressor = build(recipe, dataset, seed).fit(columns, dataset.target[chosen], weights)
    return FittedModel(regressor, fill, dataset.schema)
