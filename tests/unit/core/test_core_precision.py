"""Which doubles count as one: those that are the same float32, and no others to speak of."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beacon_core.domain.precision import decimals_of, float32_range, rounded, to_float32

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


@pytest.mark.parametrize(
    ("value", "decimals", "told"),
    [
        (1.234565, 5, 1.23456),
        (-0.000004, 5, -0.0),
        (22.53123474, 5, 22.53123),
        (1234.5, 0, 1234.0),
        (1.26e-6, 8, 1.26e-6),
    ],
)
def test_answers_are_rounded(value: float, decimals: int, told: float) -> None:
    assert rounded([value], decimals) == [told]


@pytest.mark.parametrize(
    ("spread", "decimals"),
    [(9.2, 5), (99.0, 4), (1e-6, 11), (2e5, 0), (1e9, 0), (1e-300, 15), (0.0, 6), (math.inf, 6), (math.nan, 6)],
)
def test_decimals_show_six_digits_of_the_spread(spread: float, decimals: int) -> None:
    assert decimals_of(spread) == decimals
