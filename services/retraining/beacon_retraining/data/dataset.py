"""Dataset: the training rows as a matrix and a target, with their fingerprint."""

import hashlib
import json
from datetime import UTC, datetime

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from beacon_core.domain.product import Product
from beacon_core.feature_store.names import EVENT_TIME

Matrix = NDArray[np.float64]
Times = NDArray[np.datetime64]
# The base data carries no dates. One fixed instant, so that runs reproduce, and before any production row.
BASE_EVENT_TIME = datetime(2024, 1, 1, tzinfo=UTC)


class Dataset(msgspec.Struct, frozen=True):
    """`features` (rows, features; NaN where missing, the product's order), `target` (rows) and their fingerprint.

    `times` are the rows' event times (rows; UTC, datetime64[us]), or None where the data carry no times.
    """

    features: Matrix
    target: Matrix
    fingerprint: str
    times: Times | None = None


def make_dataset(product: Product, features: Matrix, target: Matrix, times: Times | None = None) -> Dataset:
    """The dataset with its fingerprint: sha256 over names, shape and values (float64, little-endian, one NaN)."""
    names = json.dumps([*product.feature_names, product.target.name, *features.shape], separators=(",", ":"))
    table = np.column_stack([features, target]).astype("<f8")
    table[np.isnan(table)] = np.nan
    table[table == 0] = 0.0  # -0 and 0 are one value
    return Dataset(features, target, hashlib.sha256(names.encode() + table.tobytes()).hexdigest(), times)


def dataset_of(product: Product, rows: pd.DataFrame) -> Dataset:
    """The training rows as matrix, target and event times, with their fingerprint; the order is kept."""
    features = rows[list(product.feature_names)].to_numpy(np.float64)
    times = rows[EVENT_TIME].dt.tz_convert("UTC").dt.tz_localize(None).to_numpy("datetime64[us]")
    return make_dataset(product, features, rows[product.target.name].to_numpy(np.float64), times)
