"""The reference: how each column was distributed in training, as counts in bins that every later row is put into.

A numeric column has ten bins of about equal weight, between training's least and greatest value, and one on each side
for what lies outside. A categorical one has a bin per level, and one for everything else. Of many levels only the most
frequent have bins of their own; those that training saw less often share one.

Which levels are the most frequent is known from the reference alone, so by chance it has too many rows of those that it
chose, and later rows have fewer. That must not look like drift. So the choice ends where a level is surely more
frequent than the next one; where there is no such place, the levels with bins are compared among themselves.

A date has no bins: time always moves on, so only its missing values are compared.

A text level's number is its `text_code`, here and in profiles. So the same bins mean the same levels whatever the order
in product.yaml or in a package.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from beacon_drift_profiling.comparison.statistics import Floats

Kind = Literal["data", "prediction", "target"]
PREDICTION = "prediction"
PARTS = 10
TOP_LEVELS = 30
"""At most so many levels of a category have bins of their own."""
SURELY = 3.0
"""Standard deviations between the counts of two levels of which one is surely more frequent."""
REST = -math.inf
"""The number of every level that training saw and that has no bin of its own."""


class Bins(msgspec.Struct, frozen=True):
    """The bins of one column, without counts.

    `edges` of a numeric column are its least value, the inner edges and its greatest value; a bin holds its lower edge,
    the last one also its upper. Of a categorical column they are the numbers of its levels, rising. `rest` are the
    numbers of the levels that fall into the bin `REST`, rising.
    """

    edges: tuple[float, ...] = ()
    categorical: bool = False
    rest: tuple[float, ...] = ()

    def fold(self, values: Floats) -> Floats:
        """The values (no NaN), those of `rest` as `REST`."""
        if not self.rest:
            return values
        known = np.asarray(self.rest)
        near = np.clip(np.searchsorted(known, values), 0, len(known) - 1)
        return np.where(known[near] == values, REST, values)


class ReferenceColumn(msgspec.Struct, frozen=True):
    """One column of the reference; `counts` has shape (bins,), with the outer bins, and sums to rows - nulls.

    `labels` are the texts of a category's levels, in the order of the edges. A column without bins has no counts.
    `once` and `twice` count the levels that training saw so often. Without `compares_rest` the levels with bins are
    compared among themselves.
    """

    name: str
    kind: Kind
    bins: Bins
    counts: tuple[float, ...]
    rows: int
    nulls: int
    labels: tuple[str, ...] = ()
    is_text: bool = False
    once: int = 0
    twice: int = 0
    compares_rest: bool = True

    @property
    def categorical(self) -> bool:
        """Whether its bins are levels."""
        return self.bins.categorical

    @property
    def edges(self) -> tuple[float, ...]:
        """The edges of its bins."""
        return self.bins.edges

    @property
    def known(self) -> int:
        """Rows with a value."""
        return self.rows - self.nulls

    def body(self, counts: Floats) -> Floats:
        """Counts (..., bins) as the distances take them: values outside the range join the outermost inner bins.

        Unseen levels join the rest, or are left out: their share is an effect of its own.
        """
        if self.categorical:
            known, rest = np.asarray(self.counts) > 0, np.asarray([*self.edges, 0.0]) == REST
            own = counts[..., known & ~rest]
            if not (rest.any() and self.compares_rest):
                return own
            others = counts[..., ~known | rest].sum(axis=-1, keepdims=True)
            return np.concatenate([own, others], axis=-1)
        inner = counts[..., 1:-1].copy()
        inner[..., 0] += counts[..., 0]
        inner[..., -1] += counts[..., -1]
        return inner

    @property
    def levels(self) -> int:
        """How many levels training saw."""
        own = sum(count > 0 and edge != REST for edge, count in zip(self.edges, self.counts, strict=False))
        return own + len(self.bins.rest)

    def outside(self, counts: Floats) -> Floats:
        """Count the values (...,) outside training's range, or of a level that training never saw."""
        if self.categorical:
            return np.asarray(counts[..., np.asarray(self.counts) == 0].sum(axis=-1))
        return np.asarray(counts[..., 0] + counts[..., -1])


def bin_count(edges: tuple[float, ...]) -> int:
    """Return how many bins the edges make, the outer ones included."""
    return len(edges) + 1


def tally(values: Floats, edges: tuple[float, ...], categorical: bool) -> NDArray[np.int64]:
    """Count the values (no NaN) in each bin."""
    return np.bincount(bin_of(values, edges, categorical), minlength=bin_count(edges))


def bin_of(values: Floats, edges: tuple[float, ...], categorical: bool) -> NDArray[np.int64]:
    """The bin of each value (no NaN); numbers that a model cannot tell apart fall into one."""
    places = np.asarray(edges)
    if categorical:
        near = np.clip(np.searchsorted(places, values), 0, len(places) - 1)
        index = np.where(places[near] == values, near, len(places))
    else:
        with np.errstate(over="ignore"):
            values, places = values.astype(np.float32), places.astype(np.float32)
        index = np.searchsorted(places, values, side="right")
        index[values == places[-1]] = max(len(places) - 1, 1)
    return index


def numeric_edges(quantiles: Floats, low: float, high: float) -> tuple[float, ...]:
    """Edges from inner quantiles and the range; values that are heaped on one point get fewer bins."""
    inner = np.unique(quantiles[(quantiles > low) & (quantiles < high)])
    return (low, *inner.tolist(), high)


def level_column(
    name: str,
    numbers: Mapping[str, float],
    counts: Mapping[str, float],
    rows: int,
    nulls: int,
    *,
    is_text: bool,
) -> ReferenceColumn:
    """The reference column of a category: `numbers` of the levels by their text, and how often training saw them.

    Where the counts are not of all rows, the profile's sketch left out rare levels: a level without a count was one.
    """
    # Names decide between equal counts, so that the same training gives the same bins.
    order = sorted(numbers, key=lambda text: (-counts.get(text, 0.0), text))
    uncounted = max(rows - nulls - sum(counts.get(text, 0.0) for text in order), 0.0)
    hits = [counts.get(text, 0.0) for text in order]
    most = sum(hit > 0 for hit in hits[:TOP_LEVELS]) if uncounted >= 1 else TOP_LEVELS
    cut = None
    if uncounted >= 1 or any(hits[most:]):
        cut = _sure_cut([*hits, 0.0], most)
    top = order[: most if cut is None else cut]
    others = [text for text in order[len(top) :] if uncounted >= 1 or counts.get(text)]
    bins = sorted((numbers[text], text, counts.get(text, 0.0)) for text in top)
    beyond = uncounted
    if others:
        label = f"{len(others)} other level{'' if len(others) == 1 else 's'}"
        bins.insert(0, (REST, label, uncounted + sum(counts.get(text, 0.0) for text in others)))
        beyond = 0.0
    return ReferenceColumn(
        name=name,
        kind="data",
        bins=Bins(
            tuple(number for number, _, _ in bins),
            categorical=True,
            rest=tuple(sorted(numbers[text] for text in others)),
        ),
        counts=tuple(float(round(count)) for count in (*(hit for _, _, hit in bins), beyond)),
        rows=rows,
        nulls=nulls,
        labels=tuple(text for _, text, _ in bins),
        is_text=is_text,
        once=sum(hit == 1 or (uncounted >= 1 and hit == 0) for hit in hits),
        twice=sum(hit == 2 for hit in hits),
        compares_rest=not others or cut is not None,
    )


def _sure_cut(counts: Sequence[float], most: int) -> int | None:
    """After how many levels, `most` at most, the next one is surely less frequent; counts fall."""
    for place in range(min(most, len(counts) - 1), 0, -1):
        before, after = counts[place - 1], counts[place]
        if before - after >= SURELY * math.sqrt(before + after):
            return place
    return None
