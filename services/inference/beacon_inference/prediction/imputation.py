"""Imputation: missing values get the value that training fitted, and values out of range are masked."""

import numpy as np

from beacon_inference.matrix import Features, any_true
from beacon_inference.models.model import Model
from beacon_inference.prediction.inputs import PredictionInputs
from beacon_inference.prediction.validation import ValidationRules


def impute(features: Features, inputs: PredictionInputs, model: Model, rules: ValidationRules) -> None:
    """Fill the values that neither the request nor the store has; raises BeaconError when too few are known."""
    values = features.values
    if model.bounds.contain(values):
        return
    missing = np.isnan(values)
    if any_true(missing):
        rules.check_enough(~missing, inputs)
        features.missing = missing
        features.rows = np.where(missing, model.imputed, values)
    out_of_range = model.bounds.out_of_range(features.rows)
    if any_true(out_of_range):
        features.out_of_range = out_of_range
