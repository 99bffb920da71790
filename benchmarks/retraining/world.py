"""A world with known drift: labelled histories of any length, with the truth at hand.

Homes are rows of the bundled sample, drawn with replacement and smoothed, gaps included. Their price is what a model
fitted once to the sample says of them, changed by the drift of the day, with noise as large as the sample's own.
"""

import argparse
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd

from beacon_core.domain.product import Product
from beacon_core.feature_store.names import BASE_EVENT_TIME, EVENT_TIME
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import load_settings
from beacon_retraining.data.dataset import Dataset, Matrix, make_dataset
from beacon_retraining.data.validate import validate
from beacon_retraining.training.fitting import fit
from beacon_retraining.training.imputation import impute
from beacon_retraining.training.model_specs import MODEL_SPECS

START = datetime(2025, 1, 1, tzinfo=UTC)
SMOOTHING = 0.1
NOISE = 0.09
"""Standard deviation of the price's noise, as a share of the price."""
TRUTH = "kernel-ridge"


class Drift(msgspec.Struct, frozen=True):
    """From day `begin` to day `end` the change grows from nothing to its whole, and stays.

    `level`: all prices by this share. `faded`: this share of the named feature's effect is gone. `trend` features:
    moved by so many standard deviations, priced as ever (the world's homes change, the prices of homes do not).
    """

    begin: float = 0.0
    end: float = 0.0
    level: float = 0.0
    faded: dict[str, float] = {}
    trend: dict[str, float] = {}

    def share(self, days: Matrix) -> Matrix:
        """How much of the change has happened by each day."""
        return np.clip((days - self.begin) / max(self.end - self.begin, 1e-9), 0.0, 1.0)


class World:
    """Homes and their true prices, day by day."""

    def __init__(self, product: Product, drifts: tuple[Drift, ...] = ()) -> None:
        table = validate(product.sample_path, product)
        self.product, self.drifts = product, drifts
        self.features: Matrix = table[list(product.feature_names)].to_numpy(np.float64)
        self.target: Matrix = table[product.target.name].to_numpy(np.float64)
        self.deviation = np.nanstd(self.features, axis=0)
        self.smooth = np.array([not feature.is_category for feature in product.features])
        truth = next(spec for spec in MODEL_SPECS if spec.name == TRUTH)
        self.truth = fit(truth, make_dataset(product, self.features, self.target), 0)
        self.fill = self.truth.fill

    def homes(self, random: np.random.Generator, days: Matrix) -> Matrix:
        """One home a day given, shape (days, features), missing values as NaN."""
        rows = self.features[random.integers(0, len(self.features), len(days))]
        rows += random.standard_normal(rows.shape) * (SMOOTHING * self.deviation * self.smooth)
        for drift in self.drifts:
            for name, deviations in drift.trend.items():
                column = self.product.feature_names.index(name)
                rows[:, column] += deviations * self.deviation[column] * drift.share(days)
        low, high = np.nanmin(self.features, axis=0), np.nanmax(self.features, axis=0)
        clipped: Matrix = np.clip(rows, low, high)
        return clipped

    def prices(self, homes: Matrix, days: Matrix) -> Matrix:
        """The true prices, without noise."""
        complete = impute(homes, self.fill)
        for drift in self.drifts:
            for name, share in drift.faded.items():
                column = self.product.feature_names.index(name)
                complete[:, column] += share * drift.share(days) * (self.fill[column] - complete[:, column])
        prices: Matrix = self.truth.predict(complete, np.zeros(len(complete)))
        for drift in self.drifts:
            prices = prices * (1 + drift.level * drift.share(days))
        return prices

    def history(self, seed: int, days: int, per_day: int) -> Dataset:
        """The sample, and after it `per_day` labelled homes a day from `START` on, in order of time."""
        random = np.random.default_rng(seed)
        moments = np.sort(random.uniform(0, days, days * per_day))
        homes = self.homes(random, moments)
        prices = self.prices(homes, moments)
        target = np.clip(prices * (1 + NOISE * random.standard_normal(len(prices))), *self.product.target.bounds)
        times = np.datetime64(START.replace(tzinfo=None), "us") + (moments * 86400e6).astype("m8[us]")
        base = np.full(len(self.target), np.datetime64(BASE_EVENT_TIME.replace(tzinfo=None), "us"))
        return make_dataset(
            self.product,
            np.vstack([self.features, homes]),
            np.concatenate([self.target, target]),
            np.concatenate([base, times]),
        )

    def until(self, history: Dataset, day: float) -> Dataset:
        """The part of a history that was known on a day."""
        assert history.times is not None
        end = np.datetime64((START + timedelta(days=day)).replace(tzinfo=None), "us")
        known = history.times < end
        return make_dataset(self.product, history.features[known], history.target[known], history.times[known])


KNOWN = (
    Drift(begin=60, end=75, level=0.2),
    Drift(begin=110, end=140, faded={"LSTAT": 0.8}),
)
"""The drift of the cadence's replay: prices rise by a fifth in two weeks; later LSTAT loses most of its worth."""


def main() -> None:
    """Write a long labelled history with `KNOWN` drift, in the form of the pipeline's training rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--days", type=int, default=210)
    parser.add_argument("--per-day", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    product = load_product(load_settings().product)
    history = World(product, KNOWN).history(given.seed, given.days, given.per_day)
    rows = pd.DataFrame(history.features, columns=list(product.feature_names))
    rows[product.target.name] = history.target
    rows[EVENT_TIME] = pd.to_datetime(history.times, utc=True)
    rows.to_parquet(given.file, index=False)
    print(f"{given.file}: {len(rows)} rows, {given.days} days from {START:%Y-%m-%d} on")


if __name__ == "__main__":
    main()
