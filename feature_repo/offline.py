"""Feast's Parquet offline store with safe writes: a push never loses another's rows, or shows a reader half of them."""

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast import FeatureView, FileSource
from feast.infra.offline_stores.dask import DaskOfflineStore, DaskOfflineStoreConfig
from feast.repo_config import RepoConfig


class ParquetOfflineStoreConfig(DaskOfflineStoreConfig):
    """The `offline_store` section of feature_store.yaml; Feast finds it by its name."""

    type: Literal["feature_repo.offline.ParquetOfflineStore"] = "feature_repo.offline.ParquetOfflineStore"  # type: ignore[assignment]


class ParquetOfflineStore(DaskOfflineStore):
    """Reads as Feast's own; writes under a lock, to a new file that takes the old one's place."""

    @staticmethod
    def offline_write_batch(
        config: RepoConfig, feature_view: FeatureView, table: pa.Table, progress: Callable[[int], Any] | None
    ) -> None:
        source = feature_view.batch_source
        if not isinstance(source, FileSource):
            raise TypeError(f"{feature_view.name}: this offline store holds files, not {type(source).__name__}")
        file = Path(source.path)
        file = file if file.is_absolute() else Path(config.repo_path or ".") / file
        with locked(file):
            before = pq.read_table(file)
            rows = pa.concat_tables([before, table.cast(before.schema)])
            replace(file, without_repeats(rows, source.created_timestamp_column))
        if progress is not None:
            progress(table.num_rows)


@contextlib.contextmanager
def locked(file: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock of a Parquet file, against other threads and processes; `shared` among readers.

    Readers need it, too: pyarrow and dask open a file once for its schema and once more for its rows.
    """
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield


def replace(file: Path, table: pa.Table) -> None:
    """Put `table` in the file's place in one step."""
    draft = file.with_suffix(".tmp")
    pq.write_table(table, draft)
    draft.replace(file)


def without_repeats(table: pa.Table, created: str) -> pa.Table:
    """The rows without those that only repeat an earlier one at a later `created`, as a client's retry does."""
    frame: pd.DataFrame = table.to_pandas()
    columns = [name for name in frame.columns if name != created]
    return table.filter(pa.array(~frame.duplicated(subset=columns, keep="first")))
