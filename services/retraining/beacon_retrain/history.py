"""History: the training rows as Feast gives them, each with the features that were known at its event time."""

import numpy as np
import pandas as pd

from beacon_core.product import Product
from beacon_core.settings import Settings
from beacon_retrain.dataset import Dataset, make_dataset
from beacon_retrain.offline import targets_file
from feature_repo import repo
from feature_repo.definitions import EVENT_TIME
from feature_repo.offline import locked


class DatasetError(RuntimeError):
    """Feast did not give the rows that were asked for; the message says what differs."""


def load_dataset(settings: Settings, product: Product) -> Dataset:
    """Point-in-time features for every target row, in order of entity and event time."""
    targets = pd.read_parquet(targets_file(settings))
    store = repo.open_store(settings)
    service = store.get_feature_service(product.feature_service)
    with locked(repo.data_file(settings), shared=True):
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
