"""The reference: how each column was distributed in training, as counts in bins that every later row is put into.

A numeric column has ten bins of about equal weight, between training's least and greatest value, and one on each side
for what lies outside. A categorical one has a bin per category of product.yaml, and one for everything else.
"""

from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from beacon_drift_profiling.comparison.statistics import Floats

Kind = Literal["data", "prediction", "target"]
PREDICTION = "prediction"
PARTS = 10


class ReferenceColumn(msgspec.Struct, frozen=True):
    """One column of the reference; `counts` has shape (bins,), with the outer bins, and sums to rows - nulls.

    `edges` of a numeric column are its least value, the inner edges and its greatest value; a bin holds its lower edge,
    the last one also its upper. Of a categorical column they are the categories, rising.
    """

    name: str
    kind: Kind
    categorical: bool
    edges: tuple[float, ...]
    counts: tuple[float, ...]
    rows: int
    nulls: int

    @property
    def known(self) -> int:
        """Rows with a value."""
        return self.rows - self.nulls

    def body(self, counts: Floats) -> Floats:
        """Counts (..., bins) as the distances take them: values outside the range join the outermost inner bins."""
        if self.categorical:
            return counts
        inner = counts[..., 1:-1].copy()
        inner[..., 0] += counts[..., 0]
        inner[..., -1] += counts[..., -1]
        return inner

    def outside(self, counts: Floats) -> Floats:
        """Count the values (...,) outside training's range, or in a category that training never saw."""
        if self.categorical:
            return np.asarray(counts[..., np.asarray(self.counts) == 0].sum(axis=-1))
        return np.asarray(counts[..., 0] + counts[..., -1])


def bin_count(edges: tuple[float, ...]) -> int:
    """Return how many bins the edges make, the outer ones included."""
    return len(edges) + 1


def tally(values: Floats, edges: tuple[float, ...], categorical: bool) -> NDArray[np.int64]:
    """Count the values (no NaN) in each bin; numbers that a model cannot tell apart fall into one."""
    places = np.asarray(edges)
    if categorical:
        near = np.clip(np.searchsorted(places, values), 0, len(places) - 1)
        index = np.where(places[near] == values, near, len(places))
    else:
        with np.errstate(over="ignore"):
            values, places = values.astype(np.float32), places.astype(np.float32)
        index = np.searchsorted(places, values, side="right")
        index[values == places[-1]] = max(len(places) - 1, 1)
    return np.bincount(index, minlength=bin_count(edges))


def numeric_edges(quantiles: Floats, low: float, high: float) -> tuple[float, ...]:
    """Edges from inner quantiles and the range; values that are heaped on one point get fewer bins."""
    inner = np.unique(quantiles[(quantiles > low) & (quantiles < high)])
    return (low, *inner.tolist(), high)
