"""A world with known drift: labelled histories of any length, with the truth at hand, for any product.

Cases are rows of the product's table, drawn with replacement, their measurements smoothed, gaps included. Their target
is what a model fitted once to the table says of them, changed by the drift of the day, with noise.
"""

import argparse
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from retraining.base import Rows, base_dataset, like, training_rows

from beacon_core.domain.product import Product
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import load_settings
from beacon_retraining.data.dataset import Dataset, Matrix, Times
from beacon_retraining.training.fitting import fit
from beacon_retraining.training.imputation import impute
from beacon_retraining.training.recipes import recipe_for

START = datetime(2025, 1, 1, tzinfo=UTC)
"""The first day of a table without times; one with times goes on where it ends."""
MOST_ROWS = 2000
"""So many rows of the table, by chance, are the world: the truth is a kernel, which is as wide as they are many."""
SMOOTHING = 0.1
NOISE = 0.22
"""Standard deviation of the target's noise, in standard deviations of the target."""
TRUTH = "kernel-ridge"
DAY_SECONDS = 86_400.0


class Drift(msgspec.Struct, frozen=True):
    """From day `begin` to day `end` the change grows from nothing to its whole, and stays.

    `level`: all targets by so many of their standard deviations. `faded`: this share of the effect of the measurement
    that matters most is gone, of the second, and so on.
    """

    begin: float = 0.0
    end: float = 0.0
    level: float = 0.0
    faded: tuple[float, ...] = ()

    def share(self, days: Matrix) -> Matrix:
        """How much of the change has happened by each day."""
        return np.clip((days - self.begin) / max(self.end - self.begin, 1e-9), 0.0, 1.0)


class Cases(NamedTuple):
    """Cases of a world: the rows of the table that they were drawn from, and their features, missing ones as NaN."""

    rows: Rows
    features: Matrix


class World:
    """Cases and their true targets, day by day."""

    def __init__(self, product: Product, drifts: tuple[Drift, ...] = ()) -> None:
        whole = base_dataset(product)
        rows = np.random.default_rng(0).permutation(len(whole.target))[:MOST_ROWS]
        rows.sort()
        assert whole.times is not None
        self.base = like(whole, rows, whole.features[rows], whole.target[rows], whole.times[rows])
        self.product, self.drifts = product, drifts
        self.start = START if product.time.event is None else _day_after(whole.times)
        self.deviation = np.array(
            [np.nanstd(known) if len(known := column[~np.isnan(column)]) else 0.0 for column in self.base.features.T]
        )
        self.smooth = np.array([feature.is_measured for feature in product.features])
        self.whole = np.array([feature.is_whole for feature in product.features])
        truth = recipe_for(TRUTH, self.base)
        self.truth = fit(truth, self.base, 0)
        self.fill = self.truth.fill
        self.leading = self._leading()

    def _leading(self) -> list[int]:
        """The measurements, those first without which the truth's answers change most."""
        complete = impute(self.base.features, self.fill)
        plain = self.truth.predict(complete, self.base.seconds)
        changes = {}
        for column in np.flatnonzero(self.smooth).tolist():
            without = complete.copy()
            without[:, column] = self.fill[column]
            changes[column] = float(np.abs(self.truth.predict(without, self.base.seconds) - plain).mean())
        return sorted(changes, key=lambda column: -changes[column])

    def seconds(self, days: Matrix) -> Matrix:
        """The days as event times, in seconds since 1970."""
        return self.start.timestamp() + days * DAY_SECONDS

    def draw(self, random: np.random.Generator, days: Matrix) -> Cases:
        """One case a day given."""
        rows = random.integers(0, len(self.base.target), len(days))
        features = self.base.features[rows]
        features += random.standard_normal(features.shape) * (SMOOTHING * self.deviation * self.smooth)
        features[:, self.whole] = np.round(features[:, self.whole])
        low = np.nanmin(self.base.features, axis=0, initial=np.inf)
        high = np.nanmax(self.base.features, axis=0, initial=-np.inf)
        return Cases(rows, np.clip(features, low, high))

    def targets(self, cases: Cases, days: Matrix) -> Matrix:
        """The true targets, without noise."""
        complete = impute(cases.features, self.fill)
        for drift in self.drifts:
            for column, share in zip(self.leading, drift.faded, strict=False):
                complete[:, column] += share * drift.share(days) * (self.fill[column] - complete[:, column])
        targets: Matrix = self.truth.predict(complete, self.seconds(days))
        for drift in self.drifts:
            targets = targets + drift.level * self.base.spread * drift.share(days)
        return targets

    def history(self, seed: int, days: int, per_day: int) -> Dataset:
        """The table, and after it `per_day` labelled cases a day from the start on, in order of time."""
        random = np.random.default_rng(seed)
        moments = np.sort(random.uniform(0, days, days * per_day))
        cases = self.draw(random, moments)
        noise = NOISE * self.base.spread * random.standard_normal(len(moments))
        target = np.clip(self.targets(cases, moments) + noise, *self.product.target.bounds)
        assert self.base.times is not None
        times = np.concatenate([self.base.times, _times(self.seconds(moments))])
        rows = np.concatenate([np.arange(len(self.base.target)), cases.rows])
        features = np.vstack([self.base.features, cases.features])
        return like(self.base, rows, features, np.concatenate([self.base.target, target]), times)

    def until(self, history: Dataset, day: float) -> Dataset:
        """The part of a history that was known on a day."""
        assert history.times is not None
        known = np.flatnonzero(history.times < _times(self.seconds(np.array([day]))))
        return like(history, known, history.features[known], history.target[known], history.times[known])


def _times(seconds: Matrix) -> Times:
    return (seconds * 1e6).astype("m8[us]") + np.datetime64(0, "us")


def _day_after(times: Times) -> datetime:
    last: datetime = times.max().astype("datetime64[D]").astype(datetime)
    return datetime(last.year, last.month, last.day, tzinfo=UTC) + timedelta(days=1)


KNOWN = (
    Drift(begin=60, end=75, level=0.5),
    Drift(begin=110, end=140, faded=(0.8,)),
)
"""The drift of the cadence's replay: targets rise in two weeks; later a measurement loses most of its worth."""


def main() -> None:
    """Write a long labelled history with `KNOWN` drift, in the form of the pipeline's training rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--days", type=int, default=210)
    parser.add_argument("--per-day", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    product = load_product(load_settings().product)
    world = World(product, KNOWN)
    history = world.history(given.seed, given.days, given.per_day)
    rows = training_rows(product, history)
    rows.to_parquet(given.file, index=False)
    print(f"{given.file}: {len(rows)} rows, {given.days} days from {world.start:%Y-%m-%d} on")


if __name__ == "__main__":
    main()
