"""The traffic of the demo: rows of the product's sample, which change on one day.

From `CHANGE_DAY` on two features drift, and the target falls further than they explain, so that the model is wrong. The
features, their shifts and directions follow from the product spec and its sample, so the demo works for any product.
"""

import math
import random
import statistics
from collections.abc import Sequence

import msgspec

from beacon_core.domain.product import Feature, Product
from beacon_core.platform.data_file import read_rows

CHANGE_DAY = 16
DRIFTING = 2
"""Features that drift: the first key features that can."""
SHIFT = 0.5
"""The shift of each of them, in standard deviations."""
TARGET_FALL = 0.3
"""The share of its height that the target loses, so that high values fall further than low ones."""
HEIGHT = 2.45
"""The height of the average target, in standard deviations; so the target falls by 0.735 of them on average."""
NOISE = 0.07
"""Standard deviation of the target among equal rows, as a share of its height."""
BLUR = 0.02
"""Random change of one feature, as a share of its value: training drops equal rows."""


class SimulatedRow(msgspec.Struct, frozen=True):
    """The features of a request, and the actual that will be reported for it."""

    features: dict[str, float | int]
    actual: float


class SimulatedTraffic:
    """Rows, day by day; the same seed makes the same rows."""

    def __init__(self, product: Product, seed: int = 0) -> None:
        self._random = random.Random(seed)  # noqa: S311 - a simulation
        self.product = product
        rows = read_rows(product.sample_path, product)
        self._sample = [row for row in rows if not math.isnan(row[product.target.name])]
        targets = self._column(product.target.name)
        self._spread = statistics.pstdev(targets)
        self._floor = statistics.fmean(targets) - HEIGHT * self._spread
        self.shifts = self._choose_shifts()
        """Feature -> what is added to it from `CHANGE_DAY` on."""
        self.blurred = self._choose_blurred()

    def rows(self, day: int, count: int) -> list[SimulatedRow]:
        """`count` rows of a day, counted from 1."""
        return [self._row(day) for _ in range(count)]

    @property
    def change(self) -> str:
        """Text that describes the change on `CHANGE_DAY`."""
        moves = [f"{name} {'rises' if shift > 0 else 'falls'}" for name, shift in self.shifts.items()]
        return ", ".join([*moves, f"and {self.product.target.name} falls further than the model expects"])

    def _row(self, day: int) -> SimulatedRow:
        line = self._random.choice(self._sample)
        features: dict[str, float | int] = {}
        for feature in self.product.features:
            value = line[feature.name]
            if math.isnan(value):
                continue
            if feature.name == self.blurred:
                value *= 1 + BLUR * self._random.uniform(-1, 1)
            if day >= CHANGE_DAY:
                value += self.shifts.get(feature.name, 0.0)
            features[feature.name] = _as_valid(feature, value)
        height = (line[self.product.target.name] - self._floor) * self._random.gauss(1, NOISE)
        actual = self._floor + height * (1 - TARGET_FALL if day >= CHANGE_DAY else 1)
        low, high = self.product.target.valid
        return SimulatedRow(features, min(max(actual, low), high))

    def _choose_shifts(self) -> dict[str, float]:
        """Shift each drifting feature in the direction of a lower target."""
        names = [*self.product.key_features, *self.product.feature_names]
        movable = [name for name in self._continuous() if len(set(self._column(name))) > 1]
        drifting = [name for name in dict.fromkeys(names) if name in movable][:DRIFTING]
        return {name: self._shift(name) for name in drifting}

    def _shift(self, name: str) -> float:
        target = self.product.target.name
        pairs = [(row[name], row[target]) for row in self._sample if not math.isnan(row[name])]
        values, targets = zip(*pairs, strict=True)
        towards = -1.0 if statistics.covariance(values, targets) > 0 else 1.0
        spread: float = statistics.pstdev(values)
        return towards * SHIFT * spread

    def _choose_blurred(self) -> str | None:
        """The continuous feature with the most values, if possible one that does not drift; None without one."""
        names = self._continuous()
        names = [name for name in names if name not in self.shifts] or names
        return max(names, key=lambda name: len(set(self._column(name))), default=None)

    def _continuous(self) -> list[str]:
        features = self.product.features
        return [feature.name for feature in features if feature.type == "float" and feature.categories is None]

    def _column(self, name: str) -> Sequence[float]:
        return [row[name] for row in self._sample if not math.isnan(row[name])]


def _as_valid(feature: Feature, value: float) -> float | int:
    if feature.valid is not None:
        low, high = feature.valid
        value = min(max(value, low), high)
    return round(value) if feature.type == "int" else value
