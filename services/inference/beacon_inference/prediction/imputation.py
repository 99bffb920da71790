"""What is still missing gets the value that training fitted; what is outside its training range is marked."""

import numpy as np

from beacon_inference.matrix import Filled, Matrix, any_true
from beacon_inference.models.model import Model
from beacon_inference.prediction.inputs import Ask
from beacon_inference.prediction.validation import Rules


def impute(known: Matrix, ask: Ask, model: Model, rules: Rules) -> Filled:
    """Fill what neither the request nor the store had; raises BeaconError when too little is known."""
    if model.trained.hold(known):
        return Filled(known)
    missing = np.isnan(known)
    if not any_true(missing):
        return Filled(known, outside=model.trained.broken(known))
    rules.check_enough(~missing, ask)
    rows = np.where(missing, model.fill, known)
    outside = model.trained.broken(rows)
    return Filled(rows, missing, outside if any_true(outside) else None)
