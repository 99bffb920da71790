"""Imputation: fitted on the training rows, carried by the manifest, applied by serving."""

import numpy as np

from beacon_core.domain.feature import Feature
from beacon_core.domain.product import Product
from beacon_core.domain.schema import Schema
from beacon_core.model_package.model_inputs import to_columns
from beacon_retraining.data.dataset import Matrix
from beacon_retraining.training.batches import batches

BATCH_ROWS = 20_000


def fit_fill(features: Matrix, schema: Product | Schema) -> Matrix:
    """The fill value of each column: its median, or for categories the most frequent value (the smallest of equals).

    Of whole numbers and times the median is one of them, the lower one of two; of a column without values it is 0.
    """
    return np.array([_fill(features[:, i], feature) for i, feature in enumerate(schema.features)])


def impute(features: Matrix, fill: Matrix) -> Matrix:
    """The matrix with `fill` for NaN."""
    return np.where(np.isnan(features), fill, features)


def model_columns(features: Matrix, fill: Matrix, schema: Schema, seconds: Matrix) -> Matrix:
    """The graph's columns of `features`, as serving computes them: filled, derived, rounded to float32.

    `seconds` are the event times (rows) since 1970.
    """
    parts = batches(len(features), BATCH_ROWS)
    if len(parts) == 1:
        return _columns(features, fill, schema, seconds)
    # Its steps make a copy each: of many rows, never of all of them at once.
    first = _columns(features[parts[0]], fill, schema, seconds[parts[0]])
    columns = np.empty((len(features), first.shape[1]))
    columns[parts[0]] = first
    for part in parts[1:]:
        columns[part] = _columns(features[part], fill, schema, seconds[part])
    return columns


def _columns(features: Matrix, fill: Matrix, schema: Schema, seconds: Matrix) -> Matrix:
    return to_columns(impute(features, fill), schema, seconds).astype(np.float32).astype(np.float64)


def _fill(column: Matrix, feature: Feature) -> float:
    known = column[~np.isnan(column)]
    if not len(known):
        return 0.0
    if feature.impute == "median":
        whole = feature.is_whole or feature.is_time
        return float(np.quantile(known, 0.5, method="lower") if whole else np.median(known))
    values, counts = np.unique(known, return_counts=True)
    return float(values[counts.argmax()])
