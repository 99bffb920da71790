"""History: the training rows, each with the features that were known at its event time.

They are the base data, as Feast returns them, and the predictions whose actual has arrived.
"""

from typing import NamedTuple

import pandas as pd

from beacon_core.domain.product import Product
from beacon_core.feature_store import repo
from beacon_core.feature_store.names import EVENT_TIME
from beacon_core.feature_store.offline import locked
from beacon_core.platform.settings import Settings
from beacon_retraining.data.dataset import BASE_EVENT_TIME, Dataset, dataset_of
from beacon_retraining.data.labels import OBSERVED, PREDICTION
from beacon_retraining.data.offline import targets_file
from beacon_retraining.data.row_counts import ExcludedRows
from beacon_retraining.data.validate import invalid_values
from beacon_retraining.errors import RetrainError


class DatasetError(RetrainError):
    """Feast did not return the rows that were requested; the message says what differs."""


def row_columns(product: Product) -> list[str]:
    """The columns of the training rows: prediction (empty: base data), entity, event time, features, target."""
    return [PREDICTION, product.entity.key, EVENT_TIME, *product.feature_names, product.target.name]


def load_dataset(settings: Settings, product: Product) -> Dataset:
    """The base data alone, in order of entity."""
    return dataset_of(product, base_rows(settings, product))


def base_rows(settings: Settings, product: Product) -> pd.DataFrame:
    """Point-in-time features for every target row of the base data, in order of entity."""
    targets = pd.read_parquet(targets_file(settings))
    store = repo.open_store(settings)
    service = store.get_feature_service(product.feature_service)
    with locked(repo.data_file(settings), shared=True):
        rows = store.get_historical_features(entity_df=targets, features=service).to_df()
    key = product.entity.key
    if len(rows) != len(targets) or set(rows[key]) != set(targets[key]):
        raise DatasetError(f"Feast returned {len(rows)} rows for {len(targets)} targets")
    empty = int(rows[list(product.feature_names)].isna().all(axis=1).sum())
    if empty:
        raise DatasetError(f"Feast has no feature of {empty} rows: was `apply` run, and are they within their TTL?")
    # A row that was corrected is dated a little later in the store; here all of them are of one time.
    rows = rows.assign(**{PREDICTION: "", EVENT_TIME: pd.Timestamp(BASE_EVENT_TIME)})
    return rows.sort_values(key, kind="stable")[row_columns(product)]


class TrainingRows(NamedTuple):
    """The training rows in order of event time, and the counts of the excluded rows."""

    rows: pd.DataFrame
    excluded: ExcludedRows


def training_rows(settings: Settings, product: Product, labels: pd.DataFrame) -> TrainingRows:
    """Base data and labelled predictions in order of event time, each case once.

    A case is an entity (or none) with its features; its target is the actual that was observed last. A prediction with
    fewer features than serving requires is excluded. So is a row that breaks a rule of the product: the store may hold
    values that nothing checked.
    """
    base = base_rows(settings, product)
    names = list(product.feature_names)
    production = _with_known_features(settings, product, labels) if len(labels) else labels
    base_wrong, wrong = invalid_values(base, product), invalid_values(production, product)
    base, production = base[~base_wrong.any(axis=1)], production[~wrong.any(axis=1)]
    enough = production[names].notna().sum(axis=1) >= product.min_features
    incomplete = int((~enough).sum())
    production = production[enough].sort_values([OBSERVED, PREDICTION], kind="stable")
    rows = pd.concat([base, production[row_columns(product)]], ignore_index=True) if len(production) else base
    rows[EVENT_TIME] = rows[EVENT_TIME].astype("datetime64[us, UTC]")
    kept = rows.drop_duplicates([product.entity.key, *names], keep="last")
    of_production = int((kept[PREDICTION] != "").sum())
    counts = base_wrong.sum() + wrong.sum()
    excluded = ExcludedRows(
        base_broken=int(base_wrong.any(axis=1).sum()),
        base_repeated=len(base) - (len(kept) - of_production),
        broken=int(wrong.any(axis=1).sum()),
        incomplete=incomplete,
        repeated=len(production) - of_production,
        broken_features={str(name): int(count) for name, count in counts.items() if count},
    )
    kept = kept.sort_values([EVENT_TIME, product.entity.key, PREDICTION], kind="stable").reset_index(drop=True)
    return TrainingRows(kept, excluded)


def _with_known_features(settings: Settings, product: Product, labels: pd.DataFrame) -> pd.DataFrame:
    """Fill what a request lacks with the store features that the entity had at that time."""
    key = product.entity.key
    moments = labels.loc[labels[key] >= 0, [key, EVENT_TIME]].drop_duplicates()
    if moments.empty:
        return labels
    known = repo.known_at(settings, product, moments)
    known[EVENT_TIME] = known[EVENT_TIME].astype("datetime64[us, UTC]")
    names = list(product.feature_names)
    joined = labels[[key, EVENT_TIME]].merge(known[[key, EVENT_TIME, *names]], on=[key, EVENT_TIME], how="left")
    filled = labels.reset_index(drop=True)
    filled[names] = filled[names].fillna(joined[names])
    return filled
