"""Checks of the rules of product.yaml on a whole matrix at once, for every protocol."""

import math

import numpy as np

from beacon_core.domain.errors import BeaconError
from beacon_core.domain.product import Product
from beacon_inference.matrix import Bounds, Mask, Matrix, any_true
from beacon_inference.prediction.inputs import PredictionInputs

LARGEST = float(np.finfo(np.float64).max)
FLAGS = frozenset((0.0, 1.0))
"""The numbers of false and true."""


class ValidationRules:
    """The rules: valid ranges, levels, whole numbers, the fewest known features, features that are never null."""

    def __init__(self, product: Product) -> None:
        columns = list(enumerate(product.features))
        self.target_bounds = product.target.bounds
        self._features = product.features
        self._minimum = product.min_features
        self._whole = [column for column, feature in columns if feature.is_whole]
        self._needed = [column for column, feature in columns if not feature.nullable]
        # Where a range is open, infinities must not pass.
        bounds = [(max(low, -LARGEST), min(high, LARGEST)) for low, high in (f.bounds for f in product.features)]
        self._valid = Bounds([low for low, _ in bounds], [high for _, high in bounds])
        # A level that is text was checked when it became a number.
        self._levels = [
            (column, FLAGS if feature.type == "bool" else frozenset(map(float, feature.known_levels)))
            for column, feature in columns
            if feature.type == "bool" or feature.has_number_levels
        ]

    def check(self, inputs: PredictionInputs) -> None:
        """Raise BeaconError for the first value that is infinite, out of range, not a level or not whole."""
        wrong = self.wrong(inputs.matrix)
        if wrong is not None and any_true(wrong):
            first_row, first_column = np.argwhere(wrong)[0].tolist()
            raise self._error(inputs, first_row, first_column)

    def wrong(self, matrix: Matrix) -> Mask | None:
        """The mask (rows, features) of the values that break a rule; None, quickly, where none is missing or wrong."""
        if (
            self._valid.contain(matrix)
            and all(known.issuperset(matrix[:, column].tolist()) for column, known in self._levels)
            and all(all(map(float.is_integer, matrix[:, column].tolist())) for column in self._whole)
        ):
            return None
        # NaN compares false, so a missing value passes; infinities fail.
        wrong = self._valid.out_of_range(matrix)
        for column, known in self._levels:
            wrong[:, column] |= [value not in known and not math.isnan(value) for value in matrix[:, column].tolist()]
        for column in self._whole:
            values = matrix[:, column].tolist()
            wrong[:, column] |= [not value.is_integer() and not math.isnan(value) for value in values]
        return wrong

    def has_enough(self, known: Mask) -> Mask:
        """Which rows of the mask `known` (rows, features) have enough values, and all that are never imputed."""
        enough: Mask = (known.sum(axis=1) >= self._minimum) & known[:, self._needed].all(axis=1)
        return enough

    def check_enough(self, known: np.ndarray, inputs: PredictionInputs) -> None:
        """Raise BeaconError when a row of the mask `known` (rows, features) has too few, or not all that are needed.

        Complete rows need no check.
        """
        for column in self._needed:
            if not known[:, column].all():
                feature = self._features[column]
                field = inputs.path.format(row=int(np.argmin(known[:, column])), feature=feature.name)
                raise BeaconError("missing_feature", f"{feature.name} must be known: it is never imputed", field)
        counts = known.sum(axis=1)
        if counts.min() < self._minimum:
            row = int(np.argmin(counts))
            raise BeaconError(
                "too_few_features",
                f"{_features_are(int(counts[row]))} known, at least {self._minimum} "
                f"{'is' if self._minimum == 1 else 'are'} needed",
                inputs.path.format(row=row, feature="").rstrip("."),
            )

    def _error(self, inputs: PredictionInputs, row: int, column: int) -> BeaconError:
        feature, number = self._features[column], float(inputs.matrix[row, column])
        problem = feature.problem_of_number(number)
        if problem is None:
            raise AssertionError(f"{feature.name}: {number} breaks no rule")
        field = inputs.path.format(row=row, feature=feature.name)
        unit = f" {feature.unit}" if problem.code == "out_of_valid_range" and feature.unit else ""
        return BeaconError(problem.code, f"{feature.name} {problem.rule}{unit}", field)


def _features_are(count: int) -> str:
    return "1 feature is" if count == 1 else f"{count or 'no'} features are"
