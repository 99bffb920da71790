"""Imputation: fitted on the training rows, carried by the manifest, applied by serving."""

import numpy as np

from beacon_core.domain.product import Feature, Product
from beacon_retraining.data.dataset import Matrix


def fit_fill(features: Matrix, product: Product) -> Matrix:
    """The fill value of each column: its median, or for categories the most frequent value (the smallest of equals).

    Of whole numbers the median is one of them, the lower one of two.
    """
    return np.array([_fill(features[:, i], feature) for i, feature in enumerate(product.features)])


def impute(features: Matrix, fill: Matrix) -> Matrix:
    """The matrix with `fill` for NaN, each value rounded to the float32 that serving gives to the model."""
    filled = np.where(np.isnan(features), fill, features)
    return filled.astype(np.float32).astype(np.float64)


def _fill(column: Matrix, feature: Feature) -> float:
    known = column[~np.isnan(column)]
    if feature.impute == "median":
        return float(np.quantile(known, 0.5, method="lower") if feature.is_whole else np.median(known))
    values, counts = np.unique(known, return_counts=True)
    return float(values[counts.argmax()])
