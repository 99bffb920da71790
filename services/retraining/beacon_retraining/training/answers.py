"""What another library's `predict` gave, as numbers: one per row."""

import contextlib
from typing import Any

import numpy as np

from beacon_retraining.data.dataset import Matrix
from beacon_retraining.errors import ForeignModelError


def answers_of(predicted: Any, rows: int) -> Matrix:
    """What the original's `predict` gave, as numbers (rows,); raises `ForeignModelError`."""
    found = np.asarray(predicted)
    with contextlib.suppress(TypeError, ValueError):
        found = found.astype(np.float64) if found.dtype == object else found
    if not (np.issubdtype(found.dtype, np.number) or found.dtype == bool):
        raise ForeignModelError("predicts text: a regression is needed, whose answer is one number per row")
    if found.shape not in {(rows,), (rows, 1)}:
        several = f"{found.shape[1]} outputs" if found.ndim == 2 else f"answers of shape {found.shape}"
        raise ForeignModelError(f"gives {several} to {rows} rows, must be one number per row")
    return found.reshape(rows).astype(np.float64)
