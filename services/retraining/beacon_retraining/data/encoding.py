"""Encoding: columns of typed values as numbers of the float64 matrix, by the rules of their features.

Each distinct value is encoded once, by `ValueRules.to_number`: the same function as for a request. Numbers and times
that pandas holds as such are converted all at once.
"""

import math
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from beacon_core.domain.text import normal_text
from beacon_core.domain.value_rules import EPOCH, ValueRuleError, ValueRules

Matrix = NDArray[np.float64]
WRONG = math.inf
"""The number of a value that is of another type than its feature, or an unknown level."""
SECONDS_PER_DAY = 86_400
MICROSECONDS = 1_000_000


def encode_column(values: pd.Series, rules: ValueRules) -> Matrix:
    """The numbers of a column (rows,): NaN where a value is missing, `WRONG` where it has no number."""
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return _from_times(values, rules)
    is_flags = pd.api.types.is_bool_dtype(values.dtype)
    if pd.api.types.is_numeric_dtype(values.dtype) and (not is_flags or rules.type == "bool"):
        return _from_numbers(values, rules)
    places, distinct = factorize(values)
    numbers = np.array([*(_encode(value, rules) for value in distinct), math.nan])
    return numbers[places]


def factorize(values: pd.Series) -> tuple[NDArray[np.intp], list[Any]]:
    """The place of each value in the list of distinct ones, and the list; a missing value has the place -1."""
    places, distinct = pd.factorize(values)
    return np.asarray(places, np.intp), list(distinct)


def texts_of(values: pd.Series) -> tuple[NDArray[np.intp], list[str]]:
    """The same for a category of text, each text in its one spelling."""
    places, distinct = factorize(values)
    spelt = [normal_text(str(value)) for value in distinct]
    texts = list(dict.fromkeys(spelt))
    position = {text: at for at, text in enumerate(texts)}
    to_text: NDArray[np.intp] = np.array([*(position[text] for text in spelt), -1], np.intp)
    return to_text[places], texts


def _from_numbers(values: pd.Series, rules: ValueRules) -> Matrix:
    numbers: Matrix = values.to_numpy(np.float64, na_value=math.nan)
    if rules.is_text and rules.type == "category":
        return np.where(np.isnan(numbers), math.nan, WRONG)
    # The number of an infinite value is itself; it breaks the rule that values are finite.
    return numbers


def _from_times(values: pd.Series, rules: ValueRules) -> Matrix:
    plain = values if values.dt.tz is None else values.dt.tz_convert(UTC).dt.tz_localize(None)
    moments = plain.to_numpy("datetime64[us]")
    seconds = np.where(np.isnat(moments), math.nan, moments.astype(np.int64) / MICROSECONDS)
    if rules.type == "date":
        return np.floor(seconds / SECONDS_PER_DAY)
    return seconds if rules.type == "timestamp" else np.where(np.isnan(seconds), math.nan, WRONG)


def _encode(value: Any, rules: ValueRules) -> float:
    if isinstance(value, np.generic):
        value = value.item()
    if rules.is_time and isinstance(value, datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
        return float((moment.date() - EPOCH).days) if rules.type == "date" else moment.timestamp()
    if rules.type == "date" and isinstance(value, date):
        return float((value - EPOCH).days)
    try:
        return rules.to_number(value)
    except ValueRuleError:
        return WRONG
