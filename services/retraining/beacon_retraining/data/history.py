"""History: the training rows, each with the features that were known at its event time.

They are the base data that have a target, as Feast returns them, and the predictions whose actual has arrived. Without
an entity there is no feature store, and the base data are the table itself.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from beacon_core.domain.product import Product
from beacon_core.feature_store import repo
from beacon_core.feature_store.columns import KEY_TYPES, TIME, arrow_type, schema_of, to_frame, to_table
from beacon_core.feature_store.names import BASE_EVENT_TIME, EVENT_TIME
from beacon_core.platform.settings import Settings
from beacon_retraining.data.dataset import Dataset, dataset_of
from beacon_retraining.data.labels import OBSERVED, PREDICTION
from beacon_retraining.data.offline import target_columns, targets_file
from beacon_retraining.data.row_counts import ExcludedRows
from beacon_retraining.data.validate import invalid_values
from beacon_retraining.errors import RetrainError


class DatasetError(RetrainError):
    """Feast did not return the rows that were requested; the message says what differs."""


def row_columns(product: Product) -> list[str]:
    """The columns of the training rows: prediction (empty: base data), key, event time, features, target.

    Then the weight and the group, where product.yaml names columns for them.
    """
    names = (PREDICTION, *product.keys, EVENT_TIME, *product.feature_names, product.target.name)
    return list(dict.fromkeys([*names, *target_columns(product)]))


def load_dataset(settings: Settings, product: Product) -> Dataset:
    """The base data alone, in order of entity and time."""
    return dataset_of(product, base_rows(settings, product))


def base_rows(settings: Settings, product: Product) -> pd.DataFrame:
    """Point-in-time features for every target of the base data, in order of entity and time."""
    with targets_file(settings).reading() as file:
        targets = pq.read_table(file).filter(pc.field(product.target.name).is_valid())
    rows = targets if product.entity is None else _joined(settings, product, targets)
    frame = to_frame(rows, product.keys).assign(**{PREDICTION: ""})
    if product.time.event is None:
        # A row that was corrected is dated a little later in the store; here all of them are of one time.
        frame[EVENT_TIME] = pd.Series(BASE_EVENT_TIME, index=frame.index).astype("datetime64[us, UTC]")
    return frame.sort_values([*product.keys, EVENT_TIME], kind="stable")[row_columns(product)]


def _unlabelled(settings: Settings, product: Product) -> int:
    """How many rows of the base data have no target."""
    name = product.target.name
    with targets_file(settings).reading() as file:
        return int(pq.read_table(file, columns=[name])[name].null_count)


def _joined(settings: Settings, product: Product, targets: pa.Table) -> pa.Table:
    """The targets with their features: of their own rows, whenever those arrived."""
    rows = repo.features_at(settings, product, targets, as_known=False)
    empty = int(np.logical_and.reduce([rows[name].is_null().to_numpy() for name in product.feature_names]).sum())
    if empty:
        raise DatasetError(f"Feast has no feature of {empty} rows: was `apply` run, and are they within their TTL?")
    return rows


class TrainingRows(NamedTuple):
    """The training rows in order of event time, and the counts of the excluded rows."""

    rows: pd.DataFrame
    excluded: ExcludedRows


def training_rows(settings: Settings, product: Product, labels: pd.DataFrame) -> TrainingRows:
    """Base data and labelled predictions in order of event time, each case once.

    A case is an entity (or none) with its features; its target is the actual that was observed last. Where the base
    data have times, each of their rows is a case of its own. A row without a target is excluded, and so is a prediction
    with fewer features than serving requires, and a row that breaks a rule of the product: the store may hold values
    that nothing checked.
    """
    base = base_rows(settings, product)
    names = list(product.feature_names)
    production = _with_known_features(settings, product, labels) if len(labels) else labels
    base_wrong, wrong = invalid_values(base, product), invalid_values(production, product)
    base, production = base[~base_wrong.any(axis=1)], production[~wrong.any(axis=1)]
    enough = production[names].notna().sum(axis=1) >= product.min_features
    incomplete = int((~enough).sum())
    production = production[enough].sort_values([OBSERVED, PREDICTION], kind="stable")
    case = [*product.keys, *(name for name in names if name not in product.keys)]
    kept = production.drop_duplicates(case, keep="last")
    current = base[~_superseded(product, base, kept, case)]
    rows = pd.concat([current, _like(kept, product, base)], ignore_index=True) if len(kept) else current
    counts = base_wrong.sum() + wrong.sum()
    excluded = ExcludedRows(
        base_unlabelled=_unlabelled(settings, product),
        base_broken=int(base_wrong.any(axis=1).sum()),
        base_repeated=len(base) - len(current),
        broken=int(wrong.any(axis=1).sum()),
        incomplete=incomplete,
        repeated=len(production) - len(kept),
        broken_features={str(name): int(count) for name, count in counts.items() if count},
    )
    rows = rows.sort_values([EVENT_TIME, *product.keys, PREDICTION], kind="stable").reset_index(drop=True)
    return TrainingRows(rows, excluded)


def _superseded(product: Product, base: pd.DataFrame, production: pd.DataFrame, case: list[str]) -> pd.Series:
    """Which base rows a later actual of the same entity with the same features replaces."""
    if product.entity is None or product.time.event is not None or not len(production):
        return pd.Series(False, index=base.index)
    both = pd.concat([base[case], _like(production, product, base)[case]], ignore_index=True)
    repeated = both.duplicated(keep="last").to_numpy()[: len(base)]
    return pd.Series(repeated, index=base.index)


def _like(production: pd.DataFrame, product: Product, base: pd.DataFrame) -> pd.DataFrame:
    """Production's rows with the columns of the base data; they have no weight and no group."""
    rows = production.reindex(columns=row_columns(product))
    return rows.astype({key: base[key].dtype for key in product.keys if not rows[key].isna().any()})


def _with_known_features(settings: Settings, product: Product, labels: pd.DataFrame) -> pd.DataFrame:
    """Fill what a request lacks with the store features that the entity had at that time."""
    keys = list(product.keys)
    has_entity = labels[keys].notna().all(axis=1) if keys else pd.Series(False, index=labels.index)
    if not has_entity.any() or product.entity is None:
        return labels
    kinds = {name: KEY_TYPES[kind] for name, kind in product.entity.columns}
    moments = to_table(labels.loc[has_entity, [*keys, EVENT_TIME]], schema_of({**kinds, EVENT_TIME: TIME}))
    known = repo.known_at(settings, product, moments)
    filled = labels.reset_index(drop=True)
    # The row of `known` of each label; null for one without an entity.
    at = pa.array(has_entity.cumsum().to_numpy() - 1, mask=~has_entity.to_numpy())
    for feature in product.features:
        if feature.name in keys:
            continue
        own = to_table(filled[[feature.name]], schema_of({feature.name: arrow_type(feature)}))[feature.name]
        merged = pc.coalesce(own, known[feature.name].cast(own.type).take(at))
        filled[feature.name] = to_frame(pa.table({feature.name: merged}))[feature.name]
    return filled
