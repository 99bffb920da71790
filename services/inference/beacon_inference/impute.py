"""What is still missing gets the value that training fitted; what is outside its training range is marked."""

from typing import NamedTuple

import numpy as np

from beacon_inference.ask import Ask, Marks, Matrix, any_true
from beacon_inference.model import Model
from beacon_inference.validate import Rules


class Filled(NamedTuple):
    """Complete rows (rows, features), and which values were missing and which are out of range; None where none is."""

    rows: Matrix
    missing: Marks | None = None
    outside: Marks | None = None


def impute(ask: Ask, served: Matrix | None, model: Model, rules: Rules) -> Filled:
    """Fill what neither the request nor the store had; raises BeaconError when too little is known."""
    given = ask.matrix
    known = given if served is None else np.where(np.isnan(given), served, given)
    if model.trained.hold(known):
        return Filled(known)
    missing = np.isnan(known)
    if not any_true(missing):
        return Filled(known, outside=model.trained.broken(known))
    rules.check_enough(~missing, ask)
    rows = np.where(missing, model.fill, known)
    outside = model.trained.broken(rows)
    return Filled(rows, missing, outside if any_true(outside) else None)
