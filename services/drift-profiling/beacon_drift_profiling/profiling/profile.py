"""Profiles by whylogs: rows to a profile, profiles of many hours to one, and a profile to counts per column.

The library is whylogs. Its sketches (quantiles, mean, extremes, nulls; of text the frequent levels) are kept as it
makes them; beside them each column carries a metric of ours, exact counts in the reference's bins. Sketches are
randomized, so that the same rows give slightly different quantiles when they are merged another way; counts are not,
and the comparison rests on them.
"""

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from beacon_core.domain.exit_statuses import REFUSED
from beacon_drift_profiling.comparison.reference import Bins
from beacon_drift_profiling.comparison.statistics import Floats

os.environ.setdefault("WHYLOGS_NO_ANALYTICS", "1")  # before the import: whylogs would report its use

from whylogs.core.metrics import MetricConfig, StandardMetric
from whylogs.core.preprocessing import NumpyView, PreprocessedColumn
from whylogs.core.view.column_profile_view import ColumnProfileView
from whylogs.core.view.dataset_profile_view import DatasetProfileView

from beacon_drift_profiling.profiling.bins_metric import BinsConfig, BinsError, BinsMetric

logging.getLogger("whylogs").setLevel(logging.ERROR)

SKETCHES = (StandardMetric.counts, StandardMetric.distribution)
TEXT_SKETCHES = (StandardMetric.counts, StandardMetric.frequent_items)
MOST_CHARACTERS = 128
"""whylogs keeps so many characters of a frequent item."""


class TextColumn(NamedTuple):
    """A column of a text category: `codes` (rows,), missing ones as NaN, and the text of each code."""

    codes: Floats
    texts: Mapping[float, str]


Column = Floats | TextColumn


def rows_of(column: Column, mask: NDArray[np.bool_]) -> Column:
    """Some of a column's rows."""
    return TextColumn(column.codes[mask], column.texts) if isinstance(column, TextColumn) else column[mask]


class ProfileError(ValueError):
    """The bytes are no profile, or the profiles do not belong together."""

    exit_status = REFUSED


class Summary:
    """The statistics of one column in a profile; `bins` (bins,) is None where it was made without a reference."""

    def __init__(self, column: Any) -> None:
        counts = column.get_metric("counts")
        metric = column.get_metric("bins")
        self._distribution = column.get_metric("distribution")
        self._items = column.get_metric("frequent_items")
        self.rows = int(counts.n.value)
        self.edges = None if metric is None else tuple(np.frombuffer(metric.edges.value, "<f8").tolist())
        self.bins = None if metric is None else np.frombuffer(metric.counts.value, "<i8")
        missing = int(counts.null.value)
        self.nulls = missing if self.bins is None else self.rows - int(self.bins.sum())
        self.infinite = missing - self.nulls

    @property
    def mean(self) -> float | None:
        """Mean of the finite values; None without any, and of text."""
        return float(self._distribution.avg) if self.measured else None

    @property
    def measured(self) -> int:
        """Finite numbers that the sketch has seen."""
        return int(self._distribution.n) if self._distribution else 0

    @property
    def known(self) -> int:
        """Values that the profile has seen, infinities left out."""
        return self.rows - self.nulls - self.infinite

    def levels(self) -> dict[str, float]:
        """How often each level occurred, the most frequent first; rare ones of thousands are left out.

        A text has at most `MOST_CHARACTERS` characters; a number is written with six decimals, a flag True or False.
        """
        found = [] if self._items is None else self._items.strings
        return {item.value: float(item.est) for item in sorted(found, key=lambda item: (-item.est, item.value))}

    def quantiles(self, places: Iterable[float]) -> list[float]:
        """Estimate quantiles of the finite values; there must be some."""
        return list(map(float, self._distribution.kll.value.get_quantiles(list(places))))

    def below(self, values: Floats) -> Floats:
        """Estimate how many of the finite values are below each of `values` (rising)."""
        shares = self._distribution.kll.value.get_cdf(values.tolist())[:-1]
        return np.asarray(shares) * self.measured


class Profile:
    """A profile of rows; merging two gives the profile of all their rows."""

    def __init__(self, view: DatasetProfileView) -> None:
        self._view = view

    def __reduce__(self) -> "tuple[Callable[[bytes], Profile], tuple[bytes]]":
        return Profile.read, (self.serialize(),)

    @classmethod
    def read(cls, content: bytes) -> Self:
        """Read what `profile_rows` or whylogs wrote; raises `ProfileError`."""
        try:
            return cls(DatasetProfileView.deserialize(content))
        except Exception as error:  # whatever whylogs and protobuf raise for bytes that are not theirs
            raise ProfileError(f"not a profile: {type(error).__name__}: {error}") from error

    def merge(self, other: "Profile") -> "Profile":
        """Return the profile of both; raises `ProfileError` when their bins differ."""
        try:
            return Profile(self._view.merge(other._view))
        except BinsError as error:
            raise ProfileError(str(error)) from error

    def columns(self) -> dict[str, Summary]:
        """Every column by its name."""
        return {name: Summary(column) for name, column in self._view.get_columns().items()}

    def serialize(self) -> bytes:
        """Write it; timestamps are those it was made with, so that equal rows of an hour give equal counts."""
        return bytes(self._view.serialize())


def profile_rows(columns: Mapping[str, Column], hour: datetime, bins: Mapping[str, Bins]) -> Profile:
    """Profile rows: columns of equal length, missing values as NaN. Columns that are not in `bins` get none.

    whylogs' metrics are fed with arrays: its own way goes through pandas and checks the type of every value.
    """
    made = {name: _column(values, bins.get(name)) for name, values in columns.items()}
    return Profile(DatasetProfileView(columns=made, dataset_timestamp=hour, creation_timestamp=hour))


def _column(column: Column, bins: Bins | None) -> ColumnProfileView:
    values = np.asarray(column.codes if isinstance(column, TextColumn) else column, dtype=np.float64)
    # An infinity would make every mean NaN: to the sketches it is a missing value, to the bins one outside.
    finite = values[np.isfinite(values)]
    seen = PreprocessedColumn()
    seen.len, seen.null_count = len(values), len(values) - len(finite)
    metrics: dict[str, Any]
    if isinstance(column, TextColumn):
        metrics = {metric.name: metric.value.zero(MetricConfig()) for metric in TEXT_SKETCHES}
        items = metrics[StandardMetric.frequent_items.name].frequent_strings.value
        for code, count in zip(*np.unique(finite, return_counts=True), strict=True):
            items.update(column.texts[float(code)][:MOST_CHARACTERS], int(count))
        metrics[StandardMetric.counts.name].columnar_update(seen)
    else:
        seen.numpy = NumpyView(floats=finite)
        metrics = {metric.name: metric.value.zero(MetricConfig()) for metric in SKETCHES}
        for metric in metrics.values():
            metric.columnar_update(seen)
    if bins is not None:
        metrics["bins"] = BinsMetric.zero(BinsConfig(edges=bins.edges, categorical=bins.categorical))
        metrics["bins"].add(bins.fold(values[~np.isnan(values)]))
    return ColumnProfileView(metrics)
