"""The files that services share, where they lie in a folder."""

from contextlib import AbstractContextManager
from pathlib import Path

from beacon_core.feature_store import repo
from beacon_core.platform.locks import wait_for
from beacon_core.platform.settings import Settings
from beacon_retraining.data import offline


def data_path(settings: Settings) -> Path:
    """The Parquet file of the offline rows."""
    return Path(repo.data_file(settings).address)


def targets_path(settings: Settings) -> Path:
    """The Parquet file of the targets."""
    return Path(offline.targets_file(settings).address)


def locked(file: Path, *, shared: bool = False) -> AbstractContextManager[None]:
    """Hold off who reads and writes the file."""
    return wait_for(file.with_suffix(".lock"), shared=shared)
