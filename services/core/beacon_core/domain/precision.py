"""When two numbers count as equal: as float32 where they enter a model, after rounding where they are answers.

Bounds (a training range, the bins of a drift profile) are compared with values of another precision.
A float32 client sends 0.050680119544 where the training file has 0.05068011873981862. The model sees one number, so
comparisons must see one too.
"""

import ctypes
import math
from collections.abc import Iterable

STEPS_PER_UNIT = 1e5
"""Predictions and their intervals are rounded to so many steps per unit of the target."""
_DOUBLES_PER_FLOAT32 = 2.0**29  # a float32 has 29 binary digits fewer than a double
_LEAST_FLOAT32 = 2.0**-149


def rounded(values: Iterable[float]) -> list[float]:
    """Round predictions and interval ends as answers have them."""
    return [round(value * STEPS_PER_UNIT) / STEPS_PER_UNIT for value in values]


def to_float32(value: float) -> float:
    """The float32 nearest to `value`, as a model sees it; infinite beyond the largest float32."""
    return ctypes.c_float(value).value


def float32_radius(value: float) -> float:
    """The largest distance from `value`, a float32, of a double that is rounded to it."""
    return max(math.ulp(value) * _DOUBLES_PER_FLOAT32, _LEAST_FLOAT32) / 2 if math.isfinite(value) else 0.0


def float32_range(low: float, high: float) -> tuple[float, float]:
    """Widen `low` and `high` to include every double that a model sees as one of them."""
    return to_float32(low) - float32_radius(to_float32(low)), to_float32(high) + float32_radius(to_float32(high))
