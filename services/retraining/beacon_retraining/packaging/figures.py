"""Figures of any size, as reports write them."""

import math

SIGNIFICANT = 4
MOST_DECIMALS = 9


def figure(value: float) -> str:
    """A figure of any size in `SIGNIFICANT` digits."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = SIGNIFICANT - 1 - math.floor(math.log10(abs(value)))
    return f"{value:.{max(decimals, 0)}f}" if decimals <= MOST_DECIMALS else f"{value:.{SIGNIFICANT}g}"
