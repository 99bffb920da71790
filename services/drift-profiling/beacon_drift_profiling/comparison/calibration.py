"""How large an effect chance alone makes: the reference is split at random, many times, and the halves compared.

A distance between two samples of one population is never 0, and the fewer rows, the larger. A threshold is therefore
the smallest effect that matters (policy.yaml) or, if that is larger, the one that a split of the reference reaches
with the probability `false_alarms`: one part as large as the window, one as large as the reference, both drawn from
the reference's own distribution. So the size of the reference is part of the noise.
"""

from functools import lru_cache

import numpy as np

from beacon_drift_profiling.comparison.reference import ReferenceColumn
from beacon_drift_profiling.comparison.statistics import Floats, effective_rows, hellinger

SPLITS = 4000
SEED = 20260131
SIZES = (64.0, 4.0, 1.0, 0.5, 0.25, 0.125)
"""The windows tried, in sizes of the reference, falling: small ones leave bins empty, which is more than 1 / rows."""


def hellinger_quantile(column: ReferenceColumn, rows: Floats, probability: float) -> Floats:
    """The distance (...,) that chance alone exceeds with `probability`, for windows of `rows` (...,) values."""
    inverses, squares = _squares(column, probability)
    inverse = 1 / np.maximum(effective_rows(rows, np.asarray(float(column.known))), 1e-9)
    # Asymptotically the square is proportional to 1 / effective rows; between the sizes tried it is nearly so.
    inside = np.interp(inverse, inverses, squares)
    beyond = squares[-1] * inverse / inverses[-1]
    return np.minimum(np.sqrt(np.where(inverse > inverses[-1], beyond, inside)), 1.0)


@lru_cache(maxsize=1024)
def _squares(column: ReferenceColumn, probability: float) -> tuple[Floats, Floats]:
    """Squared distances at that quantile, and 1 / effective rows, for windows from endless to very few rows."""
    random = np.random.default_rng(SEED)
    known = column.known
    counts = column.body(np.asarray(column.counts))
    shares = counts / counts.sum()
    first = random.multinomial(known, shares, SPLITS).astype(float)
    inverses, squares = [], []
    for rows in (max(round(known * times), 1) for times in SIZES):
        second = random.multinomial(rows, shares, SPLITS).astype(float)
        distances = hellinger(second, first)
        inverses.append(1 / (rows * known / (rows + known)))
        squares.append(float(np.quantile(distances, 1 - probability)) ** 2)
    return np.asarray(inverses), np.asarray(squares)
