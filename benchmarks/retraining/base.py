"""The base data of any product, as retraining has them: the table in a feature store of its own, and out of it."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from beacon_core.domain.product import Feature, Product
from beacon_core.feature_store import repo
from beacon_core.feature_store.names import EVENT_TIME
from beacon_core.platform.settings import Settings
from beacon_core.sources.table import load_table
from beacon_retraining.data.dataset import Dataset, Matrix, Times, refingerprinted
from beacon_retraining.data.history import load_dataset
from beacon_retraining.data.offline import write_offline
from beacon_retraining.data.validate import validate_table

Rows = NDArray[np.intp]


def base_dataset(product: Product) -> Dataset:
    """All rows of the product's table that have a target, with what an entity's past tells of each."""
    rows = validate_table(load_table(product).table, product)
    with tempfile.TemporaryDirectory(prefix="beacon-base-") as folder:
        settings = Settings(home=Path(folder))
        write_offline(settings, product, rows, datetime.now(UTC))
        if product.entity is not None:
            repo.apply(settings, product)
        return load_dataset(settings, product)


def like(base: Dataset, rows: Rows, features: Matrix, target: Matrix, times: Times) -> Dataset:
    """A dataset of other values; what else a row has (texts, its weight, its group) is that of the base's `rows`."""
    texts: dict[int, list[tuple[int, str]]] = {}
    for (row, column), text in base.others.items():
        texts.setdefault(row, []).append((column, text))
    others = {(at, column): text for at, row in enumerate(rows.tolist()) for column, text in texts.get(row, ())}
    weights = None if base.weights is None else base.weights[rows]
    groups = None if base.groups is None else base.groups[rows]
    return refingerprinted(
        msgspec.structs.replace(
            base, features=features, target=target, times=times, others=others, weights=weights, groups=groups
        )
    )


def training_rows(product: Product, dataset: Dataset) -> pd.DataFrame:
    """The dataset as the pipeline's training rows: typed values by column."""
    columns: dict[str, object] = {
        feature.name: _values(feature, at, dataset) for at, feature in enumerate(product.features)
    }
    columns[product.target.name] = dataset.target
    columns[EVENT_TIME] = pd.to_datetime(dataset.times, utc=True)
    if product.target.weight is not None:
        columns.setdefault(product.target.weight, dataset.weights)
    if product.time.group is not None:
        columns.setdefault(product.time.group, dataset.groups)
    return pd.DataFrame(columns)


def _values(feature: Feature, at: int, dataset: Dataset) -> object:
    numbers = dataset.features[:, at]
    if feature.name in dataset.levels:
        texts = dict(enumerate(dataset.levels[feature.name]))
        found = [
            None if np.isnan(number) else texts.get(int(number), dataset.others.get((row, at)))
            for row, number in enumerate(numbers.tolist())
        ]
        return pd.array(found, "str")
    if not (feature.is_time or feature.type == "bool"):
        return numbers
    values = [None if np.isnan(number) else feature.to_value(number) for number in numbers.tolist()]
    if feature.type == "bool":
        return pd.array(values, "boolean")
    times = pd.to_datetime(pd.Series(values), utc=True, format="ISO8601")
    return times.dt.tz_localize(None) if feature.type == "date" else times
