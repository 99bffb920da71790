"""Dataset: the training rows as a matrix of a model's features and a target, with their fingerprint."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from beacon_core.domain.product import Feature, Product
from beacon_core.domain.schema import Schema
from beacon_core.domain.text import text_code
from beacon_core.domain.value_rules import Level, other_code
from beacon_core.feature_store.names import BASE_EVENT_TIME, EVENT_TIME
from beacon_core.model_package.model_inputs import FeatureMap, Texts
from beacon_retraining.data.encoding import encode_column, factorize, texts_of

Matrix = NDArray[np.float64]
Times = NDArray[np.datetime64]
Groups = NDArray[np.intp]
Levels = Mapping[str, tuple[Level, ...]]
HASHED_ROWS = 20_000
MOST_LEVELS = 2000
"""So many levels of a category of many a model knows, the most frequent ones; the others are one level, `other`."""


class Dataset(msgspec.Struct, frozen=True):
    """`features` (rows, features; NaN where missing, in the order of `schema`), `target` (rows) and their fingerprint.

    `levels` are the lists of text categories: a level's number is its position, and `other` is the number after the
    last. `others` are the texts of those, by row and column. `times` are event times (rows; UTC, datetime64[us]),
    `weights` (rows) and `groups` (rows; numbers of groups) are None where the product has none.
    """

    features: Matrix
    target: Matrix
    fingerprint: str
    schema: Schema
    levels: Levels = {}
    others: Texts = {}
    times: Times | None = None
    weights: Matrix | None = None
    groups: Groups | None = None

    @property
    def spread(self) -> float:
        """The standard deviation of the target: what tolerances and errors are relative to."""
        return float(self.target.std())

    @property
    def row_weights(self) -> Matrix:
        """The weights, 1 where there are none."""
        return np.ones(len(self.target)) if self.weights is None else self.weights

    @property
    def seconds(self) -> Matrix:
        """The event times in seconds since 1970."""
        if self.times is None:
            return np.full(len(self.target), BASE_EVENT_TIME.timestamp())
        return self.times.astype("datetime64[us]").astype(np.int64) / 1e6


def make_dataset(product: Product, features: Matrix, target: Matrix, times: Times | None = None) -> Dataset:
    """The dataset of numbers that need no levels, with its fingerprint."""
    return refingerprinted(Dataset(features, target, "", product.schema, times=times))


class StoredRows:
    """The training rows of a Parquet file, read column by column: beside the matrix, one column is in memory."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __len__(self) -> int:
        return int(pq.read_metadata(self._file).num_rows)

    def __getitem__(self, name: str) -> pd.Series:
        return pd.read_parquet(self._file, columns=[name])[name]


def dataset_of(product: Product, rows: pd.DataFrame | StoredRows) -> Dataset:
    """The training rows, columns of typed values, as a dataset; the order is kept."""
    levels: dict[str, tuple[Level, ...]] = {}
    others: dict[tuple[int, int], str] = {}
    features = np.empty((len(rows), len(product.features)))
    for at, feature in enumerate(product.features):
        values = rows[feature.name]
        if feature.type != "category" or feature.has_number_levels:
            features[:, at] = encode_column(values, feature)
            continue
        places, texts = texts_of(values)
        known = _levels(feature, places, texts)
        numbers = {text: float(code) for code, text in enumerate(known)}
        other = other_code(known)
        features[:, at] = np.array([*(numbers.get(text, other) for text in texts), np.nan])[places]
        levels[feature.name] = known
        others |= {(int(row), at): texts[places[row]] for row in np.flatnonzero(features[:, at] == other)}
    times = rows[EVENT_TIME].dt.tz_convert("UTC").dt.tz_localize(None).to_numpy("datetime64[us]")
    dataset = Dataset(
        features=features,
        target=rows[product.target.name].to_numpy(np.float64),
        fingerprint="",
        schema=product.schema,
        levels=levels,
        others=others,
        times=times,
        weights=_weights(product, rows),
        groups=_groups(product, rows),
    )
    return refingerprinted(dataset)


def product_rows(product: Product, dataset: Dataset) -> Matrix:
    """The features as a request has them: in the numbers of product.yaml. Their texts are `dataset.others`."""
    values = dataset.features.copy()
    for at, feature in enumerate(product.features):
        if feature.has_many_levels:
            codes = np.array([*(text_code(str(level)) for level in dataset.levels[feature.name]), np.nan, np.nan])
            known = len(codes) - 2  # then `other`, whose text counts, and a missing value
            values[:, at] = codes[np.nan_to_num(values[:, at], nan=known + 1).astype(int)]
            for (row, column), text in dataset.others.items():
                if column == at:
                    values[row, at] = text_code(text)
    return values


def as_seen_by(product: Product, dataset: Dataset, schema: Schema, levels: Levels) -> Dataset:
    """The same rows in the features of another model, as inference gives them to it."""
    mapped = FeatureMap(product.features, schema, levels)(product_rows(product, dataset), dataset.others)
    return msgspec.structs.replace(dataset, features=mapped, schema=schema, levels=levels)


def _levels(feature: Feature, places: NDArray[np.intp], texts: list[str]) -> tuple[Level, ...]:
    """product.yaml's levels; of a category of many, the most frequent ones in the data, equals in order of text."""
    if not feature.has_many_levels:
        return feature.known_levels
    counts = np.bincount(places[places >= 0], minlength=len(texts))
    ranked = sorted(range(len(texts)), key=lambda at: (-counts[at], texts[at]))
    return tuple(texts[at] for at in ranked[:MOST_LEVELS])


def _weights(product: Product, rows: pd.DataFrame | StoredRows) -> Matrix | None:
    """The rows' weights about 1; a row without one, as a labelled prediction is, has the middle one."""
    if product.target.weight is None:
        return None
    weights = rows[product.target.weight].to_numpy(np.float64, na_value=np.nan)
    weights = np.where(np.isnan(weights), np.nanmedian(weights), weights)
    return np.asarray(weights / weights.mean())


def _groups(product: Product, rows: pd.DataFrame | StoredRows) -> Groups | None:
    """The number of each row's group; a row without one is a group of its own."""
    if product.time.group is None:
        return None
    places, distinct = factorize(rows[product.time.group])
    own = np.cumsum(places < 0) + len(distinct) - 1
    return np.where(places < 0, own, places)


def refingerprinted(dataset: Dataset) -> Dataset:
    """The dataset with its fingerprint, the sha256 of all that a model follows.

    That is names, shape and values (float64, little-endian, one NaN), levels, texts, weights and groups.
    """
    schema = dataset.schema
    names = json.dumps([*schema.feature_names, schema.target.name, *dataset.features.shape], separators=(",", ":"))
    found = hashlib.sha256(names.encode())
    for first in range(0, len(dataset.target), HASHED_ROWS):
        part = slice(first, first + HASHED_ROWS)
        table = np.column_stack([dataset.features[part], dataset.target[part]]).astype("<f8")
        table[np.isnan(table)] = np.nan
        table[table == 0] = 0.0  # -0 and 0 are one value
        found.update(table.tobytes())
    if dataset.levels:
        found.update(msgspec.json.encode([dataset.levels, sorted(dataset.others.items())]))
    for more in (dataset.weights, dataset.groups):
        if more is not None:
            found.update(more.tobytes())
    return msgspec.structs.replace(dataset, fingerprint=found.hexdigest())
