"""The comparison of a converted model with the original."""

import numpy as np

from beacon_retraining.data.dataset import Matrix
from beacon_retraining.errors import ForeignModelError

MOST_PARITY = 1e-4
"""How far ONNX may be from the original, as a share of the target's spread, on every row."""


def check_parity(answers: Matrix, original: Matrix, spread: float) -> float:
    """The largest difference of answers (rows,) from the original's; raises `ForeignModelError` above the limit."""
    difference = np.abs(answers - original)
    worst, limit = int(difference.argmax()), MOST_PARITY * spread
    if not difference[worst] <= limit:
        count = int((difference > limit).sum())
        raise ForeignModelError(
            f"as ONNX, the answer to row {worst + 1} differs from the original's by {difference[worst]:.3g}, at most "
            f"{limit:.3g} may be ({MOST_PARITY:g} of the target's spread {spread:.3g}); {count} of {len(answers)} rows "
            "are over it. Trees on scaled values often do so in float32: leave out the scaler, which trees do not "
            "need, or train on values rounded to float32"
        )
    return float(difference[worst])
