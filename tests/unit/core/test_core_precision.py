"""Which doubles count as one: those that are the same float32, and no others to speak of."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beacon_core.domain.precision import float32_range, rounded, to_float32

LARGEST = float(np.finfo(np.float32).max)
DOUBLES = st.floats(-1e38, 1e38)


@given(DOUBLES)
def test_a_single_is_numpys_float32(value: float) -> None:
    assert to_float32(value) == float(np.float32(value))


@given(DOUBLES)
def test_what_a_model_cannot_tell_from_the_ends_is_within_and_what_it_can_is_not(end: float) -> None:
    low, high = float32_range(end, end)
    assert low <= end <= high
    seen = np.float32(end)
    least, most = (float(np.nextafter(seen, np.float32(way))) for way in (-np.inf, np.inf))
    # Halfway to the neighbours lies what is rounded to one or the other; the neighbours themselves are told apart,
    # but for the one below a power of two, which is only half as far.
    assert low <= (float(seen) + least) / 2
    assert (float(seen) + most) / 2 <= high
    assert not low < float(np.nextafter(np.float32(least), np.float32(-np.inf)))
    assert not float(np.nextafter(np.float32(most), np.float32(np.inf))) < high


def test_beyond_float32_nothing_becomes_nan() -> None:
    assert float32_range(-1e300, 1e300) == (-math.inf, math.inf)
    assert float32_range(LARGEST, 1e300)[0] <= LARGEST


@pytest.mark.parametrize(("value", "told"), [(1.234565, 1.23456), (-0.000004, -0.0), (22.53123474, 22.53123)])
def test_answers_are_told_in_steps(value: float, told: float) -> None:
    assert rounded([value]) == [told]
