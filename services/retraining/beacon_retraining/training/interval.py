"""Conformal intervals: how far below and above a prediction the target is expected, from held-out residuals."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from beacon_retraining.data.dataset import Matrix


class Widths(msgspec.Struct, frozen=True):
    """The interval is prediction - low to prediction + high, in the target's unit."""

    low: float
    high: float


def widths(residuals: Matrix, coverage: float, weights: Matrix | None = None) -> Widths:
    """Widths that leave (1 - coverage) / 2 of the residuals (target - prediction) out on each side.

    Residuals have shape (rows,) or (repeats, rows), `weights` (rows,); the finite-sample correction counts rows only,
    since repeats are not new evidence.
    """
    rows = residuals.shape[-1]
    level = min(1.0, (rows + 1) * (1 + coverage) / 2 / rows)
    if weights is None:
        low = float(np.quantile(-residuals, level, method="higher"))
        high = float(np.quantile(residuals, level, method="higher"))
    else:
        flat, own = residuals.ravel(), np.broadcast_to(weights, residuals.shape).ravel()
        chosen = own > 0
        flat, own = flat[chosen], own[chosen]
        low, high = (float(np.quantile(side, level, method="inverted_cdf", weights=own)) for side in (-flat, flat))
    return Widths(max(low, 0.0), max(high, 0.0))


def covered(residuals: Matrix, interval: Widths) -> NDArray[np.bool_]:
    """For each residual, whether its target lies in the interval."""
    return (residuals >= -interval.low) & (residuals <= interval.high)
