"""Feast's Parquet offline store with safe writes: concurrent pushes lose no rows, and readers see whole files."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast import FeatureView, FileSource
from feast.infra.offline_stores.dask import DaskOfflineStore, DaskOfflineStoreConfig
from feast.repo_config import RepoConfig

from beacon_core.platform.files import draft_of
from beacon_core.platform.locks import wait_for


class ParquetOfflineStoreConfig(DaskOfflineStoreConfig):
    """The `offline_store` section of feature_store.yaml; Feast finds it by its name."""

    type: Literal["beacon_core.feature_store.offline.ParquetOfflineStore"] = (
        "beacon_core.feature_store.offline.ParquetOfflineStore"  # type: ignore[assignment]
    )


class ParquetOfflineStore(DaskOfflineStore):
    """Reads as Feast's own store; writes under a lock to a new file that replaces the old one."""

    @staticmethod
    def offline_write_batch(
        config: RepoConfig, feature_view: FeatureView, table: pa.Table, progress: Callable[[int], Any] | None
    ) -> None:
        source = file_source(feature_view)
        file = file_of(config, feature_view)
        keys = [*(column.name for column in feature_view.entity_columns), source.timestamp_field]
        with locked(file):
            before = pq.read_table(file)
            new = without_repeats(before, table.cast(before.schema), keys, source.created_timestamp_column)
            if new.num_rows:
                replace(file, pa.concat_tables([before, new]))
        if progress is not None:
            progress(table.num_rows)


def locked(file: Path, *, shared: bool = False) -> AbstractContextManager[None]:
    """Hold the lock of a Parquet file, against other threads and processes; `shared` among readers.

    Readers need it too: pyarrow and dask open a file once for its schema and once more for its rows.
    """
    return wait_for(file.with_suffix(".lock"), shared=shared)


def replace(file: Path, table: pa.Table) -> None:
    """Replace the file by `table` in one step. Not durable, since a push waits for it."""
    with draft_of(file, durable=False) as draft:
        pq.write_table(table, draft)


def without_repeats(before: pa.Table, new: pa.Table, keys: list[str], created: str) -> pa.Table:
    """The rows of `new` that differ from the last values of the same keys, which a client's retry repeats.

    A row that repeats earlier values is a change back, and is kept. `keys` are the entity and the event time, `created`
    the column by which rows are ordered.
    """
    wanted = pd.MultiIndex.from_frame(new.select(keys).to_pandas())
    known = before.select(keys).to_pandas()
    touched = before.filter(pa.array(pd.MultiIndex.from_frame(known).isin(wanted)))
    frame: pd.DataFrame = pa.concat_tables([touched, new]).to_pandas().sort_values(created, kind="stable")
    values = frame.drop(columns=[*keys, created])
    last = frame.groupby(keys, sort=False)[list(values)].shift()
    first = ~frame.duplicated(keys)
    changes = (first | ~((values == last) | (values.isna() & last.isna())).all(axis=1)).sort_index()
    return new.filter(pa.array(changes.to_numpy()[touched.num_rows :]))


def file_source(view: FeatureView) -> FileSource:
    """The file source of the view's offline rows; raises TypeError for another kind of source."""
    if not isinstance(view.batch_source, FileSource):
        raise TypeError(f"{view.name}: this offline store holds files, not {type(view.batch_source).__name__}")
    return view.batch_source


def file_of(config: RepoConfig, view: FeatureView) -> Path:
    """The file of the view's offline rows."""
    return Path(config.repo_path or ".") / file_source(view).path
