"""Offline: the validated rows as Feast's offline Parquet, and the targets beside them."""

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from beacon_core.product import Product
from beacon_core.settings import Settings
from feature_repo import repo
from feature_repo.definitions import CREATED_TIME, EVENT_TIME

# The base data carries no dates. One fixed instant, so that runs reproduce, and before any production row.
BASE_EVENT_TIME = datetime(2024, 1, 1, tzinfo=UTC)


def targets_file(settings: Settings) -> Path:
    """Home of the targets: entity key, event time (UTC) and the target's value."""
    return repo.data_file(settings).with_name("targets.parquet")


def write_offline(settings: Settings, product: Product, rows: pd.DataFrame, now: datetime) -> None:
    """Write the offline features, created at `now`, and the targets; equal features leave their file as it is."""
    keys = rows[[product.entity.key]].assign(**{EVENT_TIME: pd.Series(BASE_EVENT_TIME, rows.index)})
    keys[EVENT_TIME] = keys[EVENT_TIME].astype("datetime64[us, UTC]")
    targets = keys.join(rows[[product.target.name]])
    features = keys.join(rows[list(product.feature_names)])
    _replace(targets, targets_file(settings))
    file = repo.data_file(settings)
    if file.is_file() and pd.read_parquet(file).drop(columns=CREATED_TIME).equals(features):
        return
    created = pd.Series(now, rows.index).astype("datetime64[us, UTC]")
    features.insert(2, CREATED_TIME, created)
    _replace(features, file)


def _replace(frame: pd.DataFrame, file: Path) -> None:
    """Write beside, then rename: a reader sees the old file or the new one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".tmp")
    frame.to_parquet(draft, index=False)
    draft.replace(file)
