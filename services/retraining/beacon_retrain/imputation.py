"""Imputation: fitted on the training rows, carried by the manifest, applied by serving."""

import numpy as np

from beacon_core.product import Product
from beacon_retrain.dataset import Matrix


def fit_fill(features: Matrix, product: Product) -> Matrix:
    """The fill value of each column: its median, or for categories the most frequent value (the smallest of equals)."""
    return np.array([_fill(features[:, i], feature.impute) for i, feature in enumerate(product.features)])


def impute(features: Matrix, fill: Matrix) -> Matrix:
    """The matrix with `fill` for NaN, each value rounded to the float32 that serving gives to the model."""
    filled = np.where(np.isnan(features), fill, features)
    return filled.astype(np.float32).astype(np.float64)


def _fill(column: Matrix, how: str) -> float:
    known = column[~np.isnan(column)]
    if how == "median":
        return float(np.median(known))
    values, counts = np.unique(known, return_counts=True)
    return float(values[counts.argmax()])
