"""Imputation: missing values get the value that training fitted, and values out of range are masked."""

import numpy as np

from beacon_core.domain.product import Product
from beacon_inference.matrix import Features, any_true
from beacon_inference.models.model import Model
from beacon_inference.prediction.inputs import PredictionInputs
from beacon_inference.prediction.validation import ValidationRules


def impute(
    features: Features, inputs: PredictionInputs, product: Product, model: Model, rules: ValidationRules
) -> None:
    """Make the model's complete rows, and the masks; raises BeaconError when too few values are known."""
    values = features.values
    rows = model.rows_of(product, values, features.texts)
    if model.bounds.contain(rows) and (rows is values or not any_true(np.isnan(values))):
        features.rows = rows
        return
    missing = np.isnan(values)
    if any_true(missing):
        rules.check_enough(~missing, inputs)
        features.missing = missing
    features.rows = model.fill(rows)
    out_of_range = model.out_of_range(product, features.rows)
    if any_true(out_of_range):
        features.out_of_range = out_of_range
