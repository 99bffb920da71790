"""The features of many rows as columns: the numbers as they lie in memory, which is a tenth of the work of words."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

Values = list[float | bool | str | None]
"""The values of a row, as clients have them: numbers, true and false, text."""

ITEM_BYTES = 8


class FeatureBlock(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The values of rows by columns; in JSON, bytes are base64.

    `numbers` are the columns of numbers in their order, row by row, as little-endian doubles, NaN where one is missing.
    `others` are the columns of other values, by their position.
    """

    numbers: bytes
    others: dict[int, Values] = {}

    def check_shape(self, rows: int, width: int) -> None:
        """Raise ValueError unless there are `width` values for each of the rows."""
        columns = self.others.items()
        if not all(0 <= position < width and len(column) == rows for position, column in columns):
            raise ValueError(f"a column is none of {width}, or has not {rows} values")
        if len(self.numbers) != rows * (width - len(self.others)) * ITEM_BYTES:
            raise ValueError(f"there are not {width} features for each of {rows} rows")

    def rows(self, width: int, some: Sequence[int] | None = None) -> list[Values]:
        """The values of some of the rows, or of all."""
        matrix = self._matrix(width)
        if some is not None:
            matrix = matrix[list(some)]
        found: list[Values] = matrix.tolist()
        if np.isnan(matrix).any():
            found = [[None if value != value else value for value in row] for row in found]  # noqa: PLR0124 - NaN
        for position in sorted(self.others):
            column = self.others[position]
            for row, value in zip(found, column if some is None else [column[at] for at in some], strict=True):
                row.insert(position, value)
        return found

    def take(self, width: int, some: Sequence[int]) -> "FeatureBlock":
        """The block of some of the rows."""
        others = {position: [column[row] for row in some] for position, column in self.others.items()}
        return FeatureBlock(self._matrix(width)[list(some)].tobytes(), others)

    def lacking(self, width: int) -> dict[int, tuple[bool, ...]]:
        """Which values each row lacks, for the rows that lack any."""
        missing = np.isnan(self._matrix(width))
        if not missing.any() and not any(None in column for column in self.others.values()):
            return {}
        for position in sorted(self.others):
            missing = np.insert(missing, position, [value is None for value in self.others[position]], axis=1)
        return {int(row): tuple(missing[row].tolist()) for row in np.flatnonzero(missing.any(axis=1))}

    def _matrix(self, width: int) -> NDArray[np.float64]:
        columns = width - len(self.others)
        rows = len(next(iter(self.others.values()))) if self.others else len(self.numbers) // columns // ITEM_BYTES
        return np.frombuffer(self.numbers, dtype="<f8").reshape(rows, columns)


def block_of(matrix: NDArray[np.float64], others: Iterable[tuple[int, Values]]) -> FeatureBlock:
    """Make the block of rows (rows, features), of which the columns of `others` have other values than numbers."""
    taken: dict[int, Any] = dict(others)
    if taken:
        matrix = np.delete(matrix, list(taken), axis=1)
    return FeatureBlock(matrix.astype("<f8", copy=False).tobytes(), taken)
