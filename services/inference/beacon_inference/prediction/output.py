"""The output of a prediction: the model's answers and their intervals, rounded as answers have them."""

import math

import numpy as np

from beacon_core.domain.errors import BeaconError
from beacon_core.domain.precision import rounded
from beacon_inference.matrix import Matrix
from beacon_inference.models.model import Model, ModelAnswers

COLUMNS_FROM = 16
"""From so many rows on, numpy is faster than a loop."""
LARGEST_EXACT = 2.0**52
MOST_DECIMALS = 22
"""Powers of ten up to this one are doubles."""


class PredictionOutput:
    """The models' answers, one item per row, in the target's unit; `shadow` is None without a shadow's answer."""

    shadow: list[float] | None = None

    def __init__(self, prediction: list[float], low: list[float], high: list[float]) -> None:
        self.prediction = prediction
        self.low = low
        self.high = high


def output_of(answers: ModelAnswers, model: Model, valid: tuple[float, float]) -> PredictionOutput:
    """Add the conformal interval of each row to the model's answers, within the target's range `valid`.

    Raises BeaconError `internal` where a value is not finite, or a spread is not above 0.
    """
    values, spreads = answers
    interval, decimals = model.manifest.interval, model.manifest.decimals
    if len(values) >= COLUMNS_FROM:
        column = np.array(values)
        spread: Matrix | float = 1.0 if spreads is None else np.array(spreads)
        _check(bool(np.isfinite(column).all()), bool(np.all((spread > 0) & np.isfinite(spread))))
        prediction = rounded_column(column, decimals)
        low = rounded_column(column - interval.low * spread, decimals)
        high = rounded_column(column + interval.high * spread, decimals)
    else:
        widths = [1.0] * len(values) if spreads is None else spreads
        _check(all(map(math.isfinite, values)), min(widths) > 0 and all(map(math.isfinite, widths)))
        prediction, low, high = [], [], []
        for value, width in zip(values, widths, strict=True):
            prediction.append(round(value, decimals))
            low.append(round(value - interval.low * width, decimals))
            high.append(round(value + interval.high * width, decimals))
    # A model may answer outside the target's valid range; the interval contains its answer even then.
    lowest, highest = valid
    if min(low) < lowest:
        low = [min(value, max(bound, lowest)) for value, bound in zip(prediction, low, strict=True)]
    if max(high) > highest:
        high = [max(value, min(bound, highest)) for value, bound in zip(prediction, high, strict=True)]
    return PredictionOutput(prediction, low, high)


def rounded_column(column: Matrix, decimals: int) -> list[float]:
    """The same numbers as `rounded` gives, at a tenth of its cost."""
    if not 0 <= decimals <= MOST_DECIMALS:
        return rounded(column.tolist(), decimals)
    factor = 10.0**decimals
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = column * factor
        nearest = np.rint(scaled)
        found: list[float] = (nearest / factor).tolist()
        # Of a value that may be half-way between two, or has no place behind the comma, only its digits tell.
        is_clear = np.abs(np.abs(scaled - nearest) - 0.5) > 2 * np.spacing(np.abs(scaled))
        is_clear &= np.abs(scaled) < LARGEST_EXACT
    if not is_clear.all():
        for row in np.flatnonzero(~is_clear).tolist():
            found[row] = round(float(column[row]), decimals)
    return found


def _check(are_finite: bool, are_spreads: bool) -> None:
    if not are_finite:
        raise BeaconError("internal", "the model's answer is not finite")
    if not are_spreads:
        raise BeaconError("internal", "the spread of the model's interval is not above 0 and finite")
