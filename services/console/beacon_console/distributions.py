"""A column's distribution as a page shows it: shares in bins, then and now, and where a value lies in it."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from beacon_core.data.drift_results import ColumnDistribution
from beacon_core.domain.value_rules import Value


class ShownBin(NamedTuple):
    """One bin: its share in training and in the window; `here` where the value that is looked at lies in it."""

    label: str
    then: float
    now: float
    here: bool = False


def bins_of(distribution: ColumnDistribution, value: Value | None = None) -> list[ShownBin]:
    """The bins, one of them marked where a value is given; outer ones without a row are left out."""
    at = bin_of(distribution, value)
    shown = [
        ShownBin(label, then, now, place == at)
        for place, (label, then, now) in enumerate(
            zip(distribution.labels, distribution.reference, distribution.seen, strict=True)
        )
    ]
    ends = {0, len(shown) - 1}
    return [each for place, each in enumerate(shown) if place not in ends or each.then or each.now or each.here]


def bin_of(distribution: ColumnDistribution, value: Value | None) -> int | None:
    """The place of the bin that holds a value; None where it is missing, or the bins do not tell."""
    if value is None:
        return None
    if distribution.edges:
        return _numeric_bin(distribution.edges, value)
    text = str(value).lower() if isinstance(value, bool) else f"{value:.15g}" if not isinstance(value, str) else value
    if text in distribution.labels:
        return distribution.labels.index(text)
    # A level without a bin of its own may be one of the others, or one that training never saw.
    return None


def _numeric_bin(edges: Sequence[float], value: Value) -> int | None:
    if isinstance(value, str):
        return None
    return max(len(edges) - 1, 1) if value == edges[-1] else bisect_right(edges, value)
