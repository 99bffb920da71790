"""Dataset: the training rows as Feast gives them, each with the features that were known at its event time."""

import hashlib
import json

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from beacon_core.product import Product
from beacon_core.settings import Settings
from beacon_retrain.offline import targets_file
from feature_repo import repo
from feature_repo.definitions import EVENT_TIME

Matrix = NDArray[np.float64]


class DatasetError(RuntimeError):
    """Feast did not give the rows that were asked for; the message says what differs."""


class Dataset(msgspec.Struct, frozen=True):
    """`features` (rows, features; NaN where missing, the product's order), `target` (rows) and their fingerprint."""

    features: Matrix
    target: Matrix
    fingerprint: str


def load_dataset(settings: Settings, product: Product) -> Dataset:
    """Point-in-time features for every target row, in order of entity and event time."""
    targets = pd.read_parquet(targets_file(settings))
    store = repo.open_store(settings)
    service = store.get_feature_service(product.feature_service)
    rows = store.get_historical_features(entity_df=targets, features=service).to_df()
    key = product.entity.key
    if len(rows) != len(targets) or set(rows[key]) != set(targets[key]):
        raise DatasetError(f"Feast gave {len(rows)} rows for {len(targets)} targets")
    rows = rows.sort_values([key, EVENT_TIME], kind="stable")
    features = rows[list(product.feature_names)].to_numpy(np.float64)
    empty = int(np.isnan(features).all(axis=1).sum())
    if empty:
        raise DatasetError(f"Feast knows no feature of {empty} rows: applied, and features within their TTL?")
    return make_dataset(product, features, rows[product.target.name].to_numpy(np.float64))


def make_dataset(product: Product, features: Matrix, target: Matrix) -> Dataset:
    """The dataset with its fingerprint: sha256 over names, shape and values (float64, little-endian, one NaN)."""
    names = json.dumps([*product.feature_names, product.target.name, *features.shape], separators=(",", ":"))
    table = np.column_stack([features, target]).astype("<f8")
    table[np.isnan(table)] = np.nan
    table[table == 0] = 0.0  # -0 and 0 are one value
    return Dataset(features, target, hashlib.sha256(names.encode() + table.tobytes()).hexdigest())
