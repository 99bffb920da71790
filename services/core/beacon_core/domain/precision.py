"""When two numbers count as equal: as float32 where they enter a model, after rounding where they are answers.

Bounds (a training range, the bins of a drift profile) are compared with values of another precision.
A float32 client sends 0.050680119544 where the training file has 0.05068011873981862. The model sees one number, so
comparisons must see one too.
"""

import ctypes
import math
from collections.abc import Iterable
from decimal import Decimal

SIGNIFICANT_DIGITS = 6
"""Answers have so many digits of the target's spread, where the product names no `decimals`."""
_DOUBLES_PER_FLOAT32 = 2.0**29  # a float32 has 29 binary digits fewer than a double
_LEAST_FLOAT32 = 2.0**-149


def decimals_of(spread: float) -> int:
    """Decimals that show SIGNIFICANT_DIGITS of `spread`, a range in the target's unit; 0 to 15."""
    if not (math.isfinite(spread) and spread > 0):
        return SIGNIFICANT_DIGITS
    return min(max(SIGNIFICANT_DIGITS - 1 - math.floor(math.log10(spread)), 0), 15)


def rounded(values: Iterable[float], decimals: int) -> list[float]:
    """Round predictions and interval ends as answers have them."""
    return [round(value, decimals) for value in values]


def significant(value: float, digits: int = 3) -> str:
    """Write a figure of any size with at least `digits` significant digits: 0.0123, 4.57, 12345."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    place = math.floor(math.log10(abs(value)))
    return f"{value:.{max(digits - 1 - place, 0)}f}" if place > -10 else f"{value:.{digits}g}"


def with_unit(text: str, unit: str) -> str:
    """A figure with its unit, if it has one."""
    return f"{text} {unit}" if unit else text


def compact(value: float, digits: int = 3) -> str:
    """Write a number of any size to so many digits, without a tail of zeros: 0.0123, 1650, 2."""
    text = f"{value:.{digits}g}"
    return f"{Decimal(text).normalize():f}" if 1e-10 < abs(value) < 1e15 else text


LARGEST_FLOAT32 = 3.4e38
"""A model computes with no larger number."""


def to_float32(value: float) -> float:
    """The float32 nearest to `value`, as a model sees it; infinite beyond the largest float32."""
    return ctypes.c_float(value).value


def float32_radius(value: float) -> float:
    """The largest distance from `value`, a float32, of a double that is rounded to it."""
    return max(math.ulp(value) * _DOUBLES_PER_FLOAT32, _LEAST_FLOAT32) / 2 if math.isfinite(value) else 0.0


def float32_range(low: float, high: float) -> tuple[float, float]:
    """Widen `low` and `high` to include every double that a model sees as one of them."""
    return to_float32(low) - float32_radius(to_float32(low)), to_float32(high) + float32_radius(to_float32(high))
