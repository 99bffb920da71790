"""Checks of the rules of product.yaml on a whole matrix at once, for every protocol."""

from math import isnan

import numpy as np

from beacon_core.domain.errors import BeaconError
from beacon_core.domain.numbers import WHOLE_RULE
from beacon_core.domain.product import Feature, Product
from beacon_inference.matrix import Bounds, any_true
from beacon_inference.prediction.inputs import PredictionInputs


class ValidationRules:
    """The rules: valid ranges, categories, whole numbers, the fewest known features, features that are never null."""

    def __init__(self, product: Product) -> None:
        self._features = product.features
        self._minimum = product.min_features
        self._whole = [column for column, feature in enumerate(product.features) if feature.is_whole]
        self._needed = [column for column, feature in enumerate(product.features) if not feature.nullable]
        bounds = [_bounds(feature) for feature in product.features]
        self._valid = Bounds([low for low, _ in bounds], [high for _, high in bounds])
        self._categories = [
            (column, frozenset(feature.categories))
            for column, feature in enumerate(product.features)
            if feature.categories is not None
        ]

    def check(self, inputs: PredictionInputs) -> None:
        """Raise BeaconError for the first value that is infinite, out of range, not a category or not whole."""
        matrix = inputs.matrix
        if (
            self._valid.contain(matrix)
            and all(known.issuperset(matrix[:, column].tolist()) for column, known in self._categories)
            and all(all(map(float.is_integer, matrix[:, column].tolist())) for column in self._whole)
        ):
            return
        # NaN compares false, so a missing value passes; infinities fail.
        wrong = self._valid.out_of_range(matrix)
        for column, known in self._categories:
            wrong[:, column] |= [value not in known and not isnan(value) for value in matrix[:, column].tolist()]
        for column in self._whole:
            wrong[:, column] |= [not value.is_integer() and not isnan(value) for value in matrix[:, column].tolist()]
        if any_true(wrong):
            first_row, first_column = np.argwhere(wrong)[0].tolist()
            raise self._error(inputs, first_row, first_column)

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
                f"{int(counts[row])} features are known, at least {self._minimum} are needed",
                inputs.path.format(row=row, feature="").rstrip("."),
            )

    def _error(self, inputs: PredictionInputs, row: int, column: int) -> BeaconError:
        feature = self._features[column]
        value = float(inputs.matrix[row, column])
        field = inputs.path.format(row=row, feature=feature.name)
        if not np.isfinite(value):
            return BeaconError("not_finite", f"{feature.name} must be finite", field)
        low, high = _bounds(feature)
        if feature.is_whole and low <= value <= high:
            return BeaconError("invalid_type", f"{feature.name} is {value!r}, must be {WHOLE_RULE}", field)
        if feature.valid is not None:
            rule = f"{feature.name} is {value:g}, valid is {low:g} to {high:g} {feature.unit}"
            return BeaconError("out_of_valid_range", rule, field)
        allowed = ", ".join(str(category) for category in feature.categories or ())
        return BeaconError("unknown_category", f"{feature.name} is {value:g}, known are {allowed}", field)


def _bounds(feature: Feature) -> tuple[float, float]:
    if feature.valid is not None:
        return feature.valid
    # Categories are checked one by one; here only the infinities must not pass.
    finite = np.finfo(np.float64)
    return (float(finite.min), float(finite.max))
