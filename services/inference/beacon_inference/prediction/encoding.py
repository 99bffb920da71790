"""Values of features as clients have them to the numbers of the matrix, and back.

Only the columns whose values are no plain numbers cost anything; a product without such columns has none.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from beacon_core.domain.errors import BeaconError
from beacon_core.domain.product import Feature, Product
from beacon_core.domain.text import normal_text
from beacon_core.domain.value_rules import Value, ValueRuleError
from beacon_core.spool.block import FeatureBlock, Values, block_of
from beacon_inference.matrix import NO_TEXTS, Matrix, Texts


class TextEncoder:
    """A column of the matrix whose values are text."""

    def __init__(self, position: int, feature: Feature) -> None:
        self.position = position
        self._feature = feature
        self._codes: Mapping[Any, float] = feature.codes

    def encode(self, value: Any, row: int, path: str, texts: dict[tuple[int, int], str]) -> float:
        """The number of one value, NaN for None; a text that it does not tell is added to `texts`.

        Raises BeaconError, whose field is `path` with the row and the feature.
        """
        if value is None:
            return math.nan
        number = self._codes.get(value) if type(value) is str else None
        if number is None:
            number = encode_value(self._feature, value, path, row)
            if self._feature.keeps_text(number):
                texts[row, self.position] = normal_text(value)
        return number


class ValueEncoder:
    """Encodes and decodes rows, in the product's feature order."""

    def __init__(self, product: Product) -> None:
        columns = list(enumerate(product.features))
        self.names = product.feature_names
        self.texts = {at: TextEncoder(at, feature) for at, feature in columns if feature.is_text}
        self._decoders = [(at, _decoder(feature)) for at, feature in columns if not feature.is_number]

    def encode(self, rows: Sequence[Sequence[Any]], path: str) -> tuple[Matrix, Texts]:
        """Make a matrix of rows of values of the right JSON types, and the texts that its numbers do not tell.

        Raises BeaconError, whose field is `path` with the row and the feature, for text that breaks a rule.
        """
        if not self.texts:
            return np.array(rows, dtype=np.float64), NO_TEXTS
        texts: dict[tuple[int, int], str] = {}
        encoded = [list(row) for row in rows]
        for position, column in self.texts.items():
            for row, values in enumerate(encoded):
                values[position] = column.encode(values[position], row, path, texts)
        return np.array(encoded, dtype=np.float64), texts

    def decode(self, rows: Sequence[list[Any]], texts: Texts) -> None:
        """Replace the numbers in `rows`, where None is missing, by the values that they stand for, in place."""
        for position, decode in self._decoders:
            for values in rows:
                values[position] = decode(values[position])
        for (row, position), text in texts.items():
            rows[row][position] = text

    def block(self, matrix: Matrix, texts: Texts) -> FeatureBlock:
        """The values that a matrix of many rows, and the texts beside it, stand for."""
        others: dict[int, Values] = {}
        for position, decode in self._decoders:
            column = matrix[:, position].tolist()
            others[position] = [None if value != value else decode(value) for value in column]  # noqa: PLR0124 - NaN
        for (row, position), text in texts.items():
            others[position][row] = text
        return block_of(matrix, others.items())


def encode_value(feature: Feature, value: object, path: str, row: int) -> float:
    """The number of one value; raises BeaconError, whose field is `path` with `row` and the feature."""
    try:
        return feature.to_number(value)
    except ValueRuleError as error:
        code, rule = error.problem
        field = path.format(row=row, feature=feature.name)
        raise BeaconError(code, f"{feature.name} {rule}", field) from None


def _decoder(feature: Feature) -> Callable[[Any], Value | None]:
    if feature.type == "bool":
        return {0.0: False, 1.0: True}.get
    if feature.type == "category":
        return {code: str(level) for level, code in feature.codes.items()}.get
    return partial(_time_of, feature)


def _time_of(feature: Feature, number: float | None) -> Value | None:
    return None if number is None else feature.to_value(number)
