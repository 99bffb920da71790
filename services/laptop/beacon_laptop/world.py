"""The world that the demo plays: homes of the bundled sample, and what changes about them one day.

From `CHANGE_DAY` on homes have fewer rooms and poorer neighbours, and what is paid for them falls further than that:
two features drift, and what the model has learnt is wrong.
"""

import math
import random

import msgspec

from beacon_core.domain.product import Product
from beacon_core.platform.data_file import read_rows

CHANGE_DAY = 16
ROOMS, NEIGHBOURS = "RM", "LSTAT"
FEWER_ROOMS = 0.32
"""Rooms; nearly half a standard deviation."""
MORE_POOR = 1.3
PRICE = 0.7
NOISE = 0.07
"""Standard deviation of a price, as a share of it."""
BLURRED, BLUR = "CRIM", 0.02
"""No two homes are quite alike: training counts a case once. One feature is enough, and its distribution the same."""


class Home(msgspec.Struct, frozen=True):
    """What is known of a home, and the price that it will turn out to have had."""

    features: dict[str, float | int]
    price: float


class World:
    """Homes, day by day; the same seed, the same homes."""

    def __init__(self, product: Product, seed: int = 0) -> None:
        self._random = random.Random(seed)  # noqa: S311 - a simulation
        self.product = product
        self._sample = list(read_rows(product.sample_path, product))

    def homes(self, day: int, count: int) -> list[Home]:
        """`count` homes of a day, counted from 1."""
        return [self._home(day) for _ in range(count)]

    def _home(self, day: int) -> Home:
        line = self._random.choice(self._sample)
        features: dict[str, float | int] = {}
        for feature in self.product.features:
            value = line[feature.name]
            if math.isnan(value):
                continue
            if feature.name == BLURRED:
                value *= 1 + BLUR * self._random.uniform(-1, 1)
            features[feature.name] = int(value) if feature.type == "int" else value
        price = line[self.product.target.name] * self._random.gauss(1, NOISE)
        if day >= CHANGE_DAY:
            price *= PRICE
            if ROOMS in features:
                features[ROOMS] = features[ROOMS] - FEWER_ROOMS
            if NEIGHBOURS in features:
                features[NEIGHBOURS] = features[NEIGHBOURS] * MORE_POOR
        low, high = self.product.target.valid
        return Home(features, min(max(price, low), high))
