"""What counts as one number where two ways of writing it meet: float32 for what goes into a model, steps for answers.

A bound that was taken from some values (training's range, the bins of a drift profile) is held against others that came
another way. A client of float32 sends 0.050680119544 for what the file has as 0.05068011873981862; the model sees
the same number, and so must whoever compares.
"""

import ctypes
import math
from collections.abc import Iterable

STEPS_PER_UNIT = 1e5
"""Predictions and their intervals are rounded to steps of this fraction of the target's unit."""
_SINGLE_STEPS = 2.0**29  # a float32 has 29 binary digits less than a double,
_LEAST_STEP = 2.0**-149  # and no step is smaller


def rounded(values: Iterable[float]) -> list[float]:
    """Values as answers have them."""
    return [round(value * STEPS_PER_UNIT) / STEPS_PER_UNIT for value in values]


def to_float32(value: float) -> float:
    """The float32 nearest to `value`, which is what a model sees of it; infinite beyond the largest."""
    return ctypes.c_float(value).value


def float32_radius(value: float) -> float:
    """How far from `value`, a float32, lie the doubles that are rounded to it, at most."""
    return max(math.ulp(value) * _SINGLE_STEPS, _LEAST_STEP) / 2 if math.isfinite(value) else 0.0


def float32_range(low: float, high: float) -> tuple[float, float]:
    """The range from `low` to `high` with all that a model cannot tell from its ends."""
    return to_float32(low) - float32_radius(to_float32(low)), to_float32(high) + float32_radius(to_float32(high))
