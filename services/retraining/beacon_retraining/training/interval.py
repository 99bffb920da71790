"""Conformal intervals: how far below and above a prediction the target is expected, from held-out residuals.

An interval is prediction - low * spread to prediction + high * spread. The spread (training/spread.py) says how large
the row's error is beside those of other rows; without one it is 1 for every row. These few lines are Beacon's own,
since the libraries of conformal prediction weigh all rows alike (docs/decisions/0021-intervals-of-our-own.md).
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from beacon_retraining.data.dataset import Matrix


class Widths(msgspec.Struct, frozen=True):
    """The interval is prediction - low to prediction + high where the spread is 1, in the target's unit."""

    low: float
    high: float


def widths(scores: Matrix, coverage: float, weights: Matrix | None = None) -> Widths:
    """Widths that leave (1 - coverage) / 2 of the scores out on each side.

    Scores are residuals (target - prediction) over the rows' spreads, shape (rows,) or (repeats, rows); `weights`
    (rows,). The finite-sample correction counts rows only, since repeats are not new evidence.
    """
    rows = scores.shape[-1]
    level = min(1.0, (rows + 1) * (1 + coverage) / 2 / rows)
    if weights is None:
        low = float(np.quantile(-scores, level, method="higher"))
        high = float(np.quantile(scores, level, method="higher"))
    else:
        flat, own = scores.ravel(), np.broadcast_to(weights, scores.shape).ravel()
        chosen = own > 0
        flat, own = flat[chosen], own[chosen]
        low, high = (float(np.quantile(side, level, method="inverted_cdf", weights=own)) for side in (-flat, flat))
    return Widths(max(low, 0.0), max(high, 0.0))


def covered(scores: Matrix, interval: Widths) -> NDArray[np.bool_]:
    """For each score, whether its target lies in the interval."""
    return (scores >= -interval.low) & (scores <= interval.high)


def interval_scores(target: Matrix, low: Matrix, high: Matrix, coverage: float) -> Matrix:
    """Winkler's score of each interval (rows,), in the target's unit; the smaller, the better.

    It is the width, and 2 / (1 - coverage) times the distance to a target outside: the mean is smallest for the true
    quantiles (Gneiting and Raftery, JASA 2007).
    """
    scores: Matrix = high - low + 2 / (1 - coverage) * (np.maximum(low - target, 0) + np.maximum(target - high, 0))
    return scores
