"""The traffic of the demo: rows of the product's table, which change on one day.

From `CHANGE_DAY` on two features drift, and the target falls further than they explain, so that the model is wrong. The
features, their shifts and directions follow from the product spec and its table, so the demo works for any product.
"""

import math
import random
import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import msgspec

from beacon_core.domain.product import Feature, Product
from beacon_core.domain.value_rules import Value
from beacon_core.sources.rows import read_rows

CHANGE_DAY = 16
DRIFTING = 2
"""Features that drift: the first key features that can."""
SHIFT = 0.5
"""The shift of a measured one, in standard deviations."""
MOVED_SHARE = 0.3
"""The share of rows in which a category takes the level of low targets."""
LEAST_SHARE = 0.02
"""A level that other rows take has at least this share: of rare ones the target is not known well."""
TARGET_FALL = 0.3
"""The share of its height that the target loses, so that high values fall further than low ones."""
HEIGHT = 2.45
"""The height of the average target, in standard deviations; so the target falls by 0.735 of them on average."""
NOISE = 0.07
"""Standard deviation of the target among equal rows, as a share of its height."""
MOST_NOISE = 0.75
"""The most that it is on average, as a share of the model's error: more would look like a model that is wrong."""
BLUR = 0.02
"""Random change of one feature, as a share of its value: training drops equal rows."""


class SimulatedRow(msgspec.Struct, frozen=True):
    """The features of a request, and the actual that will be reported for it."""

    features: dict[str, Value]
    actual: float


class SimulatedTraffic:
    """Rows, day by day; the same seed makes the same rows.

    `home` is the state folder, for the table in use; `expected_error` is the mean absolute error of the model in
    service, in the target's unit.
    """

    def __init__(
        self, product: Product, seed: int = 0, home: Path | None = None, expected_error: float = math.inf
    ) -> None:
        self._random = random.Random(seed)  # noqa: S311 - a simulation
        self.product = product
        self._sample = [row for row in read_rows(product, home=home) if row[product.target.name] is not None]
        targets = self._column(product.target.name)
        self._spread = statistics.pstdev(targets)
        height = HEIGHT * self._spread
        self._floor = statistics.fmean(targets) - height
        is_noisy = NOISE * height > MOST_NOISE * expected_error
        self._noise = MOST_NOISE * expected_error / height if is_noisy else NOISE
        drifting = self._choose_drifting()
        self.shifts = {feature.name: self._shift(feature.name) for feature in drifting if feature.is_measured}
        """Feature -> what is added to it from `CHANGE_DAY` on."""
        self.levels = {feature.name: self._low_level(feature.name) for feature in drifting if feature.is_category}
        """Feature -> the level that it takes more often from `CHANGE_DAY` on."""
        self.blurred = self._choose_blurred()
        known = self._column(self.blurred) if self.blurred else [0.0]
        self._blur_bounds = min(known), max(known)

    def rows(self, day: int, count: int) -> list[SimulatedRow]:
        """`count` rows of a day, counted from 1."""
        return [self._row(day) for _ in range(count)]

    @property
    def change(self) -> str:
        """Text that describes the change on `CHANGE_DAY`."""
        moves = [f"{name} {'rises' if shift > 0 else 'falls'}" for name, shift in self.shifts.items()]
        moves += [
            f"{name} is more often {str(level).lower() if isinstance(level, bool) else level}"
            for name, level in self.levels.items()
        ]
        return ", ".join([*moves, f"and {self.product.target.name} falls further than the model expects"])

    def _row(self, day: int) -> SimulatedRow:
        line = self._random.choice(self._sample)
        features: dict[str, Value] = {}
        for feature in self.product.features:
            value = line.get(feature.name)
            if value is None:
                continue
            if feature.name == self.blurred:
                value = self._blur(value)
            if day >= CHANGE_DAY:
                value = self._changed(feature, value)
            features[feature.name] = self._as_valid(feature, value) if feature.is_measured else value
        height = (line[self.product.target.name] - self._floor) * self._random.gauss(1, self._noise)
        actual = self._floor + height * (1 - TARGET_FALL if day >= CHANGE_DAY else 1)
        low, high = self.product.target.bounds
        return SimulatedRow(features, min(max(actual, low), high))

    def _blur(self, value: float) -> float:
        """A value near it and within the table's range: nothing of a quiet day is out of range."""
        low, high = self._blur_bounds
        step = BLUR * abs(value)
        return self._random.uniform(max(low, value - step), min(high, value + step))

    def _changed(self, feature: Feature, value: Value) -> Value:
        if isinstance(value, int | float) and feature.name in self.shifts:
            return value + self.shifts[feature.name]
        if feature.name in self.levels and self._random.random() < MOVED_SHARE:
            return self.levels[feature.name]
        return value

    def _choose_drifting(self) -> list[Feature]:
        features = {feature.name: feature for feature in self.product.features}
        names = dict.fromkeys([*self.product.key_features, *self.product.feature_names])
        movable = [features[name] for name in names if features[name].lag is None and not features[name].is_time]
        return [feature for feature in movable if len(set(self._column(feature.name))) > 1][:DRIFTING]

    def _shift(self, name: str) -> float:
        """A shift in the direction of a lower target."""
        values, targets = zip(*self._pairs(name), strict=True)
        towards = -1.0 if statistics.covariance(values, targets) > 0 else 1.0
        spread: float = statistics.pstdev(values)
        return towards * SHIFT * spread

    def _low_level(self, name: str) -> Value:
        """The level with the lowest mean target."""
        targets: dict[Value, list[float]] = defaultdict(list)
        pairs = self._pairs(name)
        for level, target in pairs:
            targets[level].append(target)
        usual = [level for level, found in targets.items() if len(found) >= LEAST_SHARE * len(pairs)] or list(targets)
        return min(usual, key=lambda level: statistics.fmean(targets[level]))

    def _pairs(self, name: str) -> list[tuple[Value, float]]:
        """The feature's values, each with its target."""
        target = self.product.target.name
        return [(row[name], row[target]) for row in self._sample if row[name] is not None]

    def _choose_blurred(self) -> str | None:
        """The continuous feature with the most values, if possible one that does not drift; None without one."""
        names = [feature.name for feature in self.product.features if feature.type == "float" and feature.lag is None]
        names = [name for name in names if name not in self.shifts] or names
        return max(names, key=lambda name: len(set(self._column(name))), default=None)

    def _column(self, name: str) -> Sequence[float]:
        return [row[name] for row in self._sample if row[name] is not None]

    def _as_valid(self, feature: Feature, value: Value) -> float | int:
        """The value within its range; a whole number is rounded up or down by chance, so that small shifts show."""
        low, high = feature.bounds
        number = float(value) if feature.type == "float" else math.floor(float(value) + self._random.random())
        return min(max(number, low), high) if feature.type == "float" else int(min(max(number, low), high))
