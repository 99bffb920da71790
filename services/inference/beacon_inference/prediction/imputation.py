"""What is still missing gets the value that training fitted; what is outside its training range is masked."""

import numpy as np

from beacon_inference.matrix import Features, any_true
from beacon_inference.models.model import Model
from beacon_inference.prediction.inputs import PredictionInputs
from beacon_inference.prediction.validation import ValidationRules


def impute(features: Features, inputs: PredictionInputs, model: Model, rules: ValidationRules) -> None:
    """Fill what neither the request nor the store had; raises BeaconError when too little is known."""
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
