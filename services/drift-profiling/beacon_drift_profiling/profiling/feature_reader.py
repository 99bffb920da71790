"""The values of a feature as the log has them, read as numbers: what rows and columns of the log have in common."""

import math
from collections.abc import Callable

import msgspec

from beacon_core.domain.feature import Feature
from beacon_core.domain.text import text_code
from beacon_core.domain.value_rules import Value, ValueRuleError, other_code
from beacon_drift_profiling.comparison.statistics import Floats
from beacon_drift_profiling.profiling.aggregates import LoggedRows
from beacon_drift_profiling.profiling.profile import Column, TextColumn


class PartitionRows(msgspec.Struct, frozen=True):
    """Some rows of one partition in order of their ids, and the ids that were set aside.

    `columns` are the features as they are profiled, by name. `clients` says who sent each row.
    """

    ids: tuple[str, ...]
    rows: LoggedRows
    columns: dict[str, Column]
    set_aside: tuple[str, ...]
    clients: tuple[str, ...]


class FeatureReader:
    """Reads one feature's values as numbers; a text becomes its `text_code`, which `texts` maps back."""

    def __init__(self, feature: Feature) -> None:
        self.feature = feature
        self.texts: dict[float, str] = {}
        self._codes: dict[str, float] = {}
        self.is_text = feature.is_text and not feature.is_time
        self.read: Callable[[Value | None], float] = self._text if self.is_text else self._number
        if feature.type == "bool" or feature.is_time:
            self.read = feature.to_number

    def column(self, values: Floats) -> Column:
        """The values (rows,) as a profile takes them."""
        return TextColumn(values, self.texts) if self.is_text else values

    def _number(self, value: Value | None) -> float:
        if value is None:
            return math.nan
        if isinstance(value, bool) or not isinstance(value, float | int):
            raise TypeError(f"{self.feature.name} is no number")
        return value

    def _text(self, value: Value | None) -> float:
        if value is None:
            return math.nan
        if not isinstance(value, str):
            raise TypeError(f"{self.feature.name} is no text")
        code = self._codes.get(value)
        if code is None:
            code = self._codes[value] = text_code(value)
            self.texts[code] = value
        return code


def product_number(feature: Feature, value: Value | None) -> float:
    """The number of a value by product.yaml as it is now: a level that it no longer has is an unseen one."""
    try:
        return feature.to_number(value)
    except ValueRuleError:
        return other_code(feature.known_levels)
