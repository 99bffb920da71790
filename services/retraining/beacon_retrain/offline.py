"""Offline: the validated rows as Feast's offline Parquet, and the targets beside them."""

from datetime import datetime
from pathlib import Path

import pandas as pd

from beacon_core.product import Product
from beacon_core.settings import Settings
from beacon_retrain.dataset import BASE_EVENT_TIME
from feature_repo import repo
from feature_repo.names import CREATED_TIME, EVENT_TIME
from feature_repo.offline import locked


def targets_file(settings: Settings) -> Path:
    """Home of the targets: entity key, event time (UTC) and the target's value."""
    return repo.data_file(settings).with_name("targets.parquet")


def write_offline(settings: Settings, product: Product, rows: pd.DataFrame, now: datetime) -> None:
    """Write the offline features, created at `now`, and the targets; equal features leave their file as it is.

    Rows of other event times were pushed to feature serving, and stay.
    """
    keys = rows[[product.entity.key]].assign(**{EVENT_TIME: pd.Series(BASE_EVENT_TIME, rows.index)})
    keys[EVENT_TIME] = keys[EVENT_TIME].astype("datetime64[us, UTC]")
    targets = keys.join(rows[[product.target.name]])
    features = keys.join(rows[list(product.feature_names)])
    file = repo.data_file(settings)
    file.parent.mkdir(parents=True, exist_ok=True)
    _replace(targets, targets_file(settings))
    with locked(file):
        before = pd.read_parquet(file) if file.is_file() else features.iloc[:0].assign(**{CREATED_TIME: now})
        is_base = before[EVENT_TIME] == BASE_EVENT_TIME
        if before[is_base].drop(columns=CREATED_TIME).reset_index(drop=True).equals(features):
            return
        created = pd.Series(now, rows.index).astype("datetime64[us, UTC]")
        features.insert(2, CREATED_TIME, created)
        pushed = before[~is_base]
        _replace(pd.concat([features, pushed], ignore_index=True) if len(pushed) else features, file)


def _replace(frame: pd.DataFrame, file: Path) -> None:
    """Write beside, then rename: a reader sees the old file or the new one."""
    draft = file.with_suffix(".tmp")
    frame.to_parquet(draft, index=False)
    draft.replace(file)
