"""The rules of product.yaml, held against a whole matrix at once, whatever protocol filled it."""

from math import isnan

import numpy as np

from beacon_core.errors import BeaconError
from beacon_core.product import Feature, Product
from beacon_inference.ask import Ask, any_true


class Rules:
    """Valid ranges, categories, the least number of features and those that none may lack."""

    def __init__(self, product: Product) -> None:
        self._features = product.features
        self._minimum = product.serving.min_features
        self._needed = [column for column, feature in enumerate(product.features) if not feature.nullable]
        # The same rules twice: by column for one row, as arrays for many.
        self._rules = [
            (*_bounds(feature), None if feature.categories is None else frozenset(feature.categories))
            for feature in product.features
        ]
        self._low = np.array([low for low, _, _ in self._rules])
        self._high = np.array([high for _, high, _ in self._rules])
        self._categories = [
            (column, np.array(feature.categories, dtype=np.float64))
            for column, feature in enumerate(product.features)
            if feature.categories is not None
        ]

    def check(self, ask: Ask) -> None:
        """Raise BeaconError for the first value that is infinite, out of its valid range or of no known category."""
        matrix = ask.matrix
        # NaN compares false, so a missing value passes; infinities fail.
        if len(matrix) == 1:  # one row is the usual case, and numpy's overhead would be most of its cost
            for column, (value, (low, high, known)) in enumerate(zip(matrix[0].tolist(), self._rules, strict=True)):
                if value < low or value > high or (known is not None and value not in known and not isnan(value)):
                    raise self._refusal(ask, 0, column)
            return
        wrong = (matrix < self._low) | (matrix > self._high)
        for column, categories in self._categories:
            values = matrix[:, column]
            wrong[:, column] |= ~(np.isin(values, categories) | np.isnan(values))
        if any_true(wrong):
            row, column = (int(index) for index in np.argwhere(wrong)[0])
            raise self._refusal(ask, row, column)

    def check_enough(self, known: np.ndarray, ask: Ask) -> None:
        """Raise BeaconError when a row of `known` (rows, features; bool) lacks too many, or one that is never null.

        Complete rows need not be asked.
        """
        for column in self._needed:
            if not known[:, column].all():
                feature = self._features[column]
                field = ask.path.format(row=int(np.argmin(known[:, column])), feature=feature.name)
                raise BeaconError("missing_feature", f"{feature.name} must be known: it is never imputed", field)
        counts = known.sum(axis=1)
        if counts.min() < self._minimum:
            row = int(np.argmin(counts))
            raise BeaconError(
                "too_few_features",
                f"{int(counts[row])} features are known, at least {self._minimum} are needed",
                ask.path.format(row=row, feature="").rstrip("."),
            )

    def _refusal(self, ask: Ask, row: int, column: int) -> BeaconError:
        feature = self._features[column]
        value = float(ask.matrix[row, column])
        field = ask.path.format(row=row, feature=feature.name)
        if not np.isfinite(value):
            return BeaconError("not_finite", f"{feature.name} must be finite", field)
        if feature.valid is not None:
            low, high = feature.valid
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
