"""Rows as a float matrix, masks over it, and bounds of its columns."""

from collections.abc import Mapping, Sequence
from operator import le

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Mask = NDArray[np.bool_]
Texts = Mapping[tuple[int, int], str]
"""Texts beside a matrix, by row and column: of the values that its numbers do not tell."""


NO_TEXTS: Texts = {}


def any_true(mask: Mask) -> bool:
    """`mask.any()`, at a tenth of its cost for the few values of one row."""
    return b"\x01" in mask.tobytes()


class Bounds:
    """The lowest and highest value of each feature, both inclusive."""

    def __init__(self, low: Sequence[float], high: Sequence[float]) -> None:
        self._lows, self._highs = list(low), list(high)
        self._low, self._high = np.array(low), np.array(high)

    def contain(self, matrix: Matrix) -> bool:
        """Whether every value of `matrix` (rows, features) is known and within its bounds."""
        if len(matrix) > 1:
            return not any_true(~((matrix >= self._low) & (matrix <= self._high)))
        row = matrix[0].tolist()  # the usual case, at a quarter of numpy's cost
        return all(map(le, self._lows, row)) and all(map(le, row, self._highs))

    def out_of_range(self, matrix: Matrix) -> Mask:
        """The mask (rows, features) of the values that are out of bounds; a missing value is not."""
        return (matrix < self._low) | (matrix > self._high)


class Features:
    """The features of a prediction's rows, (rows, features) in the product's order.

    `values`, and the `texts` beside them, are those of the request and the feature store, merged, NaN where neither had
    one; `from_store` masks the feature store's (None where it was not asked). `missing` and `out_of_range` are masks of
    the same shape, None where they would mask nothing. `rows` are complete rows of the model's own features.
    """

    missing: Mask | None = None
    out_of_range: Mask | None = None

    def __init__(self, values: Matrix, from_store: Mask | None = None, texts: Texts = NO_TEXTS) -> None:
        self.values = self.rows = values
        self.from_store = from_store
        self.texts = texts
