"""Generated traffic with known answers: rows of the bundled sample, drawn with replacement and smoothed.

The smoothed sample is the population. Each seed draws its own reference from it, as large as the sample, and its own
traffic, so that the reference's sampling error is part of what is measured.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from beacon_core.domain.product import Product
from beacon_core.platform.data_file import read_columns

Floats = NDArray[np.float64]
DAYS, ROWS_A_DAY = 30, 1000
SHIFT = 0.5
"""In standard deviations of the shifted feature."""
SMOOTHING = 0.1
"""Standard deviation of the noise, in standard deviations of the feature."""


class Population:
    """Rows to draw from; `columns` are the features and the target, in that order."""

    def __init__(self, product: Product) -> None:
        self.columns = (*product.feature_names, product.target.name)
        columns = read_columns(product.sample_path, product)
        self.rows: Floats = np.column_stack([np.frombuffer(columns[name]) for name in self.columns])
        smooth = [feature.categories is None for feature in product.features] + [True]
        self.deviation = np.where(smooth, np.nanstd(self.rows, axis=0), 0.0)
        self.low, self.high = np.nanmin(self.rows, axis=0), np.nanmax(self.rows, axis=0)

    def draw(self, random: np.random.Generator, count: int) -> Floats:
        """Draw rows, shape (count, columns), missing values as NaN."""
        rows = self.rows[random.integers(0, len(self.rows), count)]
        rows += random.standard_normal(rows.shape, dtype=np.float32) * (SMOOTHING * self.deviation)
        return np.clip(rows, self.low, self.high)

    def shift(self, rows: Floats, name: str, deviations: float) -> Floats:
        """Return the rows with one column moved by so many standard deviations."""
        moved = rows.copy()
        place = self.columns.index(name)
        moved[:, place] += deviations * self.deviation[place]
        return moved


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
