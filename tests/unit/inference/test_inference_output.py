"""Answers of many rows are rounded as those of one are, to the last bit."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from beacon_core.domain.precision import rounded
from beacon_inference.prediction.output import rounded_column

HALVES = [0.5, 1.5, 2.675, 1.005, 0.125, -0.00005, 1e-5, 5e-5, 2.5e-4, 0.00015, 4503599627370497.5, 1e300, -1e-320]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1), st.integers(0, 15))
@example(HALVES, 4)
@example(HALVES, 0)
@example(HALVES, 15)
def test_any_numbers_are_rounded_as_python_rounds_them(values: list[float], decimals: int) -> None:
    assert list(map(repr, rounded_column(np.array(values), decimals))) == list(map(repr, rounded(values, decimals)))


@pytest.mark.parametrize("decimals", range(-2, 12))
def test_numbers_beside_each_half_are_rounded_as_python_rounds_them(decimals: int) -> None:
    random = np.random.default_rng(decimals + 2)
    halves = (random.integers(-(10**6), 10**6, 2000) + 0.5) / 10.0**decimals
    values = np.concatenate([halves, np.nextafter(halves, math.inf), np.nextafter(halves, -math.inf)])
    assert rounded_column(values, decimals) == rounded(values.tolist(), decimals)
