"""Generated traffic with known answers: rows of the product's sample, drawn with replacement and smoothed.

The smoothed sample is the population. Each seed draws its own reference from it, as large as the sample, and its own
traffic, so that the reference's sampling error is part of what is measured.

Rows are numbers, as profiles have them: a text is its `text_code`.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from beacon_core.domain.product import Product
from beacon_core.domain.value_rules import Value
from beacon_core.sources.rows import read_rows
from beacon_drift_profiling.profiling.feature_reader import FeatureReader
from beacon_drift_profiling.profiling.profile import Column

Floats = NDArray[np.float64]
DAYS, ROWS_A_DAY = 30, 1000
SHIFT = 0.5
"""In standard deviations of the shifted feature."""
SMOOTHING = 0.1
"""Standard deviation of the noise, in standard deviations of the feature."""
DISTANCE = float(np.sqrt(1 - np.exp(-(SHIFT**2) / 8)))
"""The Hellinger distance of two normal distributions that far apart: so far the shares of a category are shifted."""
GOLDEN = 0.6180339887498949


class Population:
    """Rows to draw from; `columns` are the features and the target, in that order."""

    def __init__(self, product: Product) -> None:
        self.columns = (*product.feature_names, product.target.name)
        self._readers = {feature.name: FeatureReader(feature) for feature in product.features}
        table = [row for row in read_rows(product) if row[product.target.name] is not None]
        # A lag is no column of the table: the feature store has it.
        known = [[reader.read(row.get(name)) for row in table] for name, reader in self._readers.items()]
        target = [row[product.target.name] for row in table]
        self.rows: Floats = np.array([*known, target], dtype=np.float64).T
        smooth = [feature.is_measured and feature.lag is None for feature in product.features] + [True]
        self._whole = np.array([feature.is_whole for feature in product.features] + [False])
        self.deviation = np.array(
            [np.nanstd(column) if on else 0.0 for column, on in zip(self.rows.T, smooth, strict=True)]
        )
        self.low = np.array([np.min(column[~np.isnan(column)], initial=np.inf) for column in self.rows.T])
        self.high = np.array([np.max(column[~np.isnan(column)], initial=-np.inf) for column in self.rows.T])

    @property
    def shiftable(self) -> tuple[str, ...]:
        """The features that a shift is tried on: all but times, and those with one value alone."""
        return tuple(
            name
            for name, reader in self._readers.items()
            if not reader.feature.is_time and self.low[place := self.columns.index(name)] < self.high[place]
        )

    def draw(self, random: np.random.Generator, count: int) -> Floats:
        """Draw rows, shape (count, columns), missing values as NaN."""
        rows = self.rows[random.integers(0, len(self.rows), count)]
        rows += random.standard_normal(rows.shape, dtype=np.float32) * (SMOOTHING * self.deviation)
        rows[:, self._whole] = np.round(rows[:, self._whole])
        return np.clip(rows, self.low, self.high)

    def shift(self, rows: Floats, name: str, deviations: float) -> Floats:
        """Return the rows with one column moved by so many standard deviations; a category's shares as by `SHIFT`."""
        moved = rows.copy()
        place = self.columns.index(name)
        if self.deviation[place]:
            moved[:, place] += deviations * self.deviation[place]
        else:
            moved[:, place] = _other_shares(moved[:, place], self.rows[:, place])
        if self._whole[place]:
            # Up or down in proportion: rounded to the nearest, a shift of less than one half would be none at all.
            moved[:, place] = np.floor(moved[:, place] + _spread(len(moved)))
        return moved

    def column(self, rows: Floats, name: str) -> Column:
        """One column of rows, as a profile takes it."""
        values = rows[:, self.columns.index(name)]
        return self._readers[name].column(values) if name in self._readers else values

    def value(self, name: str, number: float) -> Value | None:
        """The value of a number of a row, as clients send it."""
        reader = self._readers[name]
        return reader.feature.to_value(number, reader.texts.get(number))


class Stream:
    """One seed: a reference, `DAYS` quiet days of traffic, and a day more that a shift may begin with."""

    def __init__(self, population: Population, seed: int) -> None:
        random = np.random.default_rng(seed)
        self.population = population
        self.reference = population.draw(random, len(population.rows))
        self.quiet = population.draw(random, DAYS * ROWS_A_DAY)
        self.after = population.draw(random, ROWS_A_DAY)

    def day(self, number: int) -> Floats:
        """Return the rows of a quiet day, from 0."""
        return self.quiet[number * ROWS_A_DAY : (number + 1) * ROWS_A_DAY]

    def shifted(self, name: str) -> Floats:
        """Return the day more, with one column moved."""
        return self.population.shift(self.after, name, SHIFT)

    def digest(self) -> str:
        """Name the rows, so that rules that ran in different environments can be seen to have judged the same ones."""
        return hashlib.sha256(self.reference.tobytes() + self.quiet.tobytes() + self.after.tobytes()).hexdigest()[:16]


def _other_shares(values: Floats, known: Floats) -> Floats:
    """The values, some of them replaced by the second most frequent level: `DISTANCE` away from the known shares."""
    levels, counts = np.unique(known[~np.isnan(known)], return_counts=True)
    shares = counts / counts.sum()
    level = int(np.argsort(-counts, kind="stable")[min(1, len(levels) - 1)])
    low, high = 0.0, 1.0
    for _ in range(40):
        part = (low + high) / 2
        after = shares * (1 - part)
        after[level] += part
        near = 1 - float(np.sqrt(shares * after).sum()) < DISTANCE**2
        low, high = (part, high) if near else (low, part)
    moves = _spread(len(values)) < low
    return np.where(moves & ~np.isnan(values), levels[level], values)


def _spread(count: int) -> Floats:
    """Numbers from 0 to 1, spread evenly over any part of them."""
    return np.asarray((np.arange(count) * GOLDEN) % 1)
