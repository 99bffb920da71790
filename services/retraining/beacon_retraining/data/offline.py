"""Offline: the validated rows as Feast's offline Parquet, and the targets beside them.

The data file has no dates. Its rows are dated before all of production, and a corrected row one second after the row
that it replaces. So every store serves the newest one, and a prediction still joins what was known when it was made.
"""

from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa

from beacon_core.domain.product import Product
from beacon_core.feature_store import repo
from beacon_core.feature_store.names import CREATED_TIME, EVENT_TIME
from beacon_core.feature_store.offline import locked, replace
from beacon_core.platform.settings import Settings
from beacon_retraining.data.dataset import BASE_EVENT_TIME
from beacon_retraining.data.row_counts import FileChanges

# Corrections of one row that have room before production's first day.
BASE_END = BASE_EVENT_TIME + timedelta(days=1)
ONE_LATER = pd.Timedelta(seconds=1)
TIME = "datetime64[us, UTC]"


def targets_file(settings: Settings) -> Path:
    """The file of the targets: entity key, event time (UTC) of its features, and the target's value."""
    return repo.data_file(settings).with_name("targets.parquet")


def write_offline(settings: Settings, product: Product, rows: pd.DataFrame, now: datetime) -> FileChanges:
    """Add what is new in `rows` to the offline features, as known from `now` on, and write the targets.

    Nothing is removed: an unchanged row keeps its dates, the old version of a changed or removed row stays, and so do
    rows that were pushed to feature serving.
    """
    key, names = product.entity.key, list(product.feature_names)
    file = repo.data_file(settings)
    file.parent.mkdir(parents=True, exist_ok=True)
    features = rows[[key, *names]].reset_index(drop=True)
    with locked(file):
        stored = pd.read_parquet(file) if file.is_file() else None
        newest = _newest(stored, key, names)
        before = newest.reindex(features[key]).reset_index(drop=True)
        known = before[EVENT_TIME].notna()
        same = known & _equal(before[names], features[names])
        dates = before[EVENT_TIME].where(same, before[EVENT_TIME] + ONE_LATER).fillna(pd.Timestamp(BASE_EVENT_TIME))
        keys = features[[key]].assign(**{EVENT_TIME: dates, CREATED_TIME: pd.Timestamp(now)})
        keys = keys.astype({EVENT_TIME: TIME, CREATED_TIME: TIME})
        added = keys.join(features[names])[~same]
        if len(added):
            _replace(added if stored is None else pd.concat([stored, added], ignore_index=True), file)
    targets = keys[[key, EVENT_TIME]].join(rows[[product.target.name]].reset_index(drop=True))
    removed = _removed(settings, targets[key])
    _replace(targets, targets_file(settings))
    changed = known & ~same
    moved = _digests(features[names][changed]).isin(_digests(newest[names]))
    return FileChanges(int((~known).sum()) if len(newest) else 0, int(changed.sum()), removed, int(moved.sum()))


def _newest(stored: pd.DataFrame | None, key: str, names: list[str]) -> pd.DataFrame:
    """What the store knows of each entity of the data file, by its key."""
    columns = [key, EVENT_TIME, CREATED_TIME, *names]
    if stored is None:
        return pd.DataFrame({EVENT_TIME: pd.Series(dtype=TIME)}, columns=columns[1:])
    base = stored[(stored[EVENT_TIME] >= BASE_EVENT_TIME) & (stored[EVENT_TIME] < BASE_END)]
    base = base.sort_values([EVENT_TIME, CREATED_TIME], kind="stable").drop_duplicates(key, keep="last")
    return base.reindex(columns=columns).set_index(key)  # features may have come or gone


def _equal(one: pd.DataFrame, other: pd.DataFrame) -> pd.Series:
    return ((one == other) | (one.isna() & other.isna())).all(axis=1)


def _digests(rows: pd.DataFrame) -> pd.Series:
    return pd.util.hash_pandas_object(rows.astype("float64"), index=False)


def _removed(settings: Settings, entities: pd.Series) -> int:
    file = targets_file(settings)
    return int((~pd.read_parquet(file)[entities.name].isin(entities)).sum()) if file.is_file() else 0


def _replace(frame: pd.DataFrame, file: Path) -> None:
    replace(file, pa.Table.from_pandas(frame, preserve_index=False))
