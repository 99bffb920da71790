"""From rows of the product's features to the columns that a model's graph takes: the same numbers everywhere.

Retraining fits a model on these columns; inference computes them per request. The steps:

1. `FeatureMap`: rows of the product's features become rows of the model's. They differ while a changed product.yaml
   waits for its next model.
2. Missing values get the manifest's `fill`.
3. `to_columns`: a date becomes its parts, and derived columns are computed.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from beacon_core.domain.derived import CYCLES, Formula, cycle, part_columns
from beacon_core.domain.feature import Feature
from beacon_core.domain.schema import Schema
from beacon_core.domain.text import text_code
from beacon_core.domain.value_rules import Level, other_code

Matrix = NDArray[np.float64]
Texts = Mapping[tuple[int, int], str]
"""Texts kept beside a matrix, by row and column: those that its numbers do not tell."""
SECONDS_PER_DAY = 86_400.0


class FeatureMap:
    """Maps rows of the product's features (rows, features) to rows of a model's features.

    `levels` are the package's, by feature: a text level becomes its position in this list, an unseen one the number
    after the last. A feature that the product no longer has is missing.
    """

    def __init__(self, product: Sequence[Feature], schema: Schema, levels: Mapping[str, tuple[Level, ...]]) -> None:
        # By column of the model's features: the column of the product's, or None for one that is gone.
        names = [feature.name for feature in product]
        self.sources = [names.index(name) if name in names else None for name in schema.feature_names]
        self._recodings = [
            None if source is None else _recoding(product[source], levels.get(feature.name))
            for source, feature in zip(self.sources, schema.features, strict=True)
        ]
        self.is_identity = self.sources == list(range(len(product))) and not any(self._recodings)

    def __call__(self, values: Matrix, texts: Texts) -> Matrix:
        """Map `values`; `texts` are those beside it."""
        if self.is_identity:
            return values
        rows = np.full((len(values), len(self.sources)), np.nan)
        for column, (source, recoding) in enumerate(zip(self.sources, self._recodings, strict=True)):
            if source is not None:
                rows[:, column] = values[:, source] if recoding is None else recoding.apply(values, source, texts)
        return rows


class _Recoding:
    """From the numbers of product.yaml's levels to those of a package's list."""

    def __init__(self, numbers: dict[float, float], by_text: dict[str, float], other: float) -> None:
        self._numbers = numbers
        self._by_text = by_text
        self._other = other

    def apply(self, values: Matrix, column: int, texts: Texts) -> Matrix:
        """The column's numbers in the package's list."""
        numbers, other, by_text = self._numbers, self._other, self._by_text
        found = [
            np.nan if number != number else numbers.get(number, other)  # noqa: PLR0124 - NaN
            for number in values[:, column].tolist()
        ]
        for (row, at), text in texts.items():
            if at == column:
                found[row] = by_text.get(text, other)
        return np.array(found)


def _recoding(feature: Feature, levels: tuple[Level, ...] | None) -> _Recoding | None:
    """None where the numbers are the same."""
    if feature.type != "category" or feature.has_number_levels or levels is None or levels == feature.levels:
        return None
    by_text = {str(level): float(position) for position, level in enumerate(levels)}
    if feature.has_many_levels:
        numbers = {text_code(text): code for text, code in by_text.items()}
    else:
        numbers = {code: by_text.get(str(level), other_code(levels)) for level, code in feature.codes.items()}
    return _Recoding(numbers, by_text, other_code(levels))


def column_names(schema: Schema) -> tuple[str, ...]:
    """The names of the graph's columns: features, the parts of a date in its place, then derived columns."""
    names: list[str] = []
    for feature in schema.features:
        names += part_columns(feature.name, feature.parts) if feature.parts else [feature.name]
    return (*names, *(column.name for column in schema.derived))


def to_columns(rows: Matrix, schema: Schema, times: Matrix) -> Matrix:
    """The graph's columns (rows, columns) of complete rows of the model's features.

    `times` (rows,) are seconds since 1970 of each row's event, or of now for a request: a date's age is counted to it.
    """
    if not schema.derived and not any(feature.parts for feature in schema.features):
        return rows
    columns: list[Matrix] = []
    for position, feature in enumerate(schema.features):
        values = rows[:, position]
        columns += _parts(values, feature, times) if feature.parts else [values]
    names = schema.feature_names
    columns += [
        _formula([rows[:, names.index(name)] for name in d.formula.operands], d.formula) for d in schema.derived
    ]
    return np.column_stack(columns)


def _formula(operands: list[Matrix], formula: Formula) -> Matrix:
    first, second = operands[0], operands[-1]
    if formula.kind == "ratio":
        return np.divide(first, second, out=np.zeros_like(first), where=second != 0)
    if formula.kind == "difference":
        return first - second
    # A logarithm of 1 + |x|, with the sign of x, is defined for all numbers.
    return np.sign(first) * np.log1p(np.abs(first)) if formula.kind == "log" else first * first


def _parts(values: Matrix, feature: Feature, times: Matrix) -> list[Matrix]:
    seconds = values * SECONDS_PER_DAY if feature.type == "date" else values
    moments = np.floor(seconds).astype("datetime64[s]")
    days, months, years = (moments.astype(f"datetime64[{unit}]") for unit in ("D", "M", "Y"))
    numbers = {
        "year": years.astype(int) + 1970.0,
        "quarter": months.astype(int) % 12 // 3 + 1.0,
        "month": months.astype(int) % 12 + 1.0,
        "day": (days - months).astype(int) + 1.0,
        "weekday": (days.astype(int) + 3) % 7 + 1.0,  # 1970 began on a Thursday; Monday is 1
        "hour": (moments - days).astype(int) // 3600 + 0.0,
        "month_cycle": months.astype(int) % 12 + 0.0,
        "day_of_year_cycle": (days - years).astype(int) + 0.0,
        "hour_cycle": (moments - days).astype(int) / 3600,
        "age": (times - seconds) / SECONDS_PER_DAY,
    }
    columns: list[Matrix] = []
    for part in feature.parts:
        if part in CYCLES:
            angle = cycle(numbers[part], CYCLES[part])
            columns += [np.sin(angle), np.cos(angle)]
        else:
            columns.append(numbers[part])
    return columns
