"""Feast's Parquet offline store with safe writes, exact values and joins in linear memory.

Concurrent pushes lose no rows, and readers see whole files. Columns keep their types: whole numbers and keys never
pass through floats. The file may lack a feature that is new, or have one that is gone.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from feast import FeatureView, FileSource, OnDemandFeatureView
from feast.infra.offline_stores.dask import DaskOfflineStore, DaskOfflineStoreConfig
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import RepoConfig
from feast.saved_dataset import SavedDatasetStorage
from feast.utils import _get_requested_feature_views_to_features_dict

from beacon_core.feature_store.columns import TIME, aligned, cast, to_frame
from beacon_core.feature_store.names import EVENT_TIME
from beacon_core.feature_store.point_in_time import join, key_codes, times_of
from beacon_core.feature_store.stored_view import StoredView, stored_view
from beacon_core.platform.shared_files import SharedFile, Write, is_remote, shared_file

ROW_GROUP = 65_536
"""Rows that a reader must hold at once."""


class ParquetOfflineStoreConfig(DaskOfflineStoreConfig):
    """The `offline_store` section of feature_store.yaml; Feast finds it by its name."""

    type: Literal["beacon_core.feature_store.offline.ParquetOfflineStore"] = (
        "beacon_core.feature_store.offline.ParquetOfflineStore"  # type: ignore[assignment]
    )


class PointInTimeJob(RetrievalJob):
    """A join that is computed when its result is asked for."""

    def __init__(self, evaluate: Callable[[], pa.Table], keys: Sequence[str], full_feature_names: bool) -> None:
        self._evaluate = evaluate
        self._keys = keys
        self._full_feature_names = full_feature_names

    @property
    def full_feature_names(self) -> bool:
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        return []

    @property
    def metadata(self) -> RetrievalMetadata | None:
        return None

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:  # noqa: ARG002
        return self._evaluate()

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:  # noqa: ARG002
        return to_frame(self._evaluate(), self._keys)

    def persist(
        self, storage: SavedDatasetStorage, allow_overwrite: bool | None = False, timeout: int | None = None
    ) -> None:
        raise NotImplementedError("saved data sets are not supported; use to_arrow")


class ParquetOfflineStore(DaskOfflineStore):
    """Writes a new file that replaces the old one (`platform.shared_files`), and joins by `point_in_time`."""

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: Any,
        registry: BaseRegistry,  # noqa: ARG004
        project: str,  # noqa: ARG004
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        **options: Any,  # noqa: ARG004
    ) -> RetrievalJob:
        if not isinstance(entity_df, pd.DataFrame | pa.Table):
            raise TypeError("entity_df must be a DataFrame or a table")
        wanted, _ = _get_requested_feature_views_to_features_dict(feature_refs, feature_views, [])
        names = entity_df.column_names if isinstance(entity_df, pa.Table) else list(entity_df)

        def evaluate() -> pa.Table:
            result = (
                entity_df if isinstance(entity_df, pa.Table) else pa.Table.from_pandas(entity_df, preserve_index=False)
            )
            for view, features in wanted.items():
                moments = _moments(view, result)
                with file_of(config, view).reading() as file:
                    rows = read_rows(file, stored_view(view))
                found = join(stored_view(view), rows, moments, features, as_known=filter_by_created_timestamp)
                for name, column in found.items():
                    title = f"{view.projection.name_to_use()}__{name}" if full_feature_names else name
                    result = result.append_column(title, column)
            return result

        return PointInTimeJob(evaluate, names, full_feature_names)

    @staticmethod
    def offline_write_batch(
        config: RepoConfig, feature_view: FeatureView, table: pa.Table, progress: Callable[[int], Any] | None
    ) -> None:
        view = stored_view(feature_view)

        def add(file: Path) -> Write | None:
            before = read_all(file, view.schema)
            new = without_repeats(before, aligned(table, before.schema), [*view.keys, view.event_time], view.created)
            return to_parquet(pa.concat_tables([before, new])) if new.num_rows else None

        # Not durable, since a push waits for it.
        file_of(config, feature_view).update(add, durable=False)
        if progress is not None:
            progress(table.num_rows)


def to_parquet(table: pa.Table) -> Write:
    """Writes the table into a Parquet file."""
    return lambda draft: pq.write_table(table, draft, row_group_size=ROW_GROUP)


def read_all(file: Path, schema: pa.Schema) -> pa.Table:
    """All rows of the file, with the columns of `schema` and the file's others; no rows without a file."""
    if not file.is_file():
        return schema.empty_table()
    table = pq.read_table(file)
    others = [field for field in table.schema.remove_metadata() if field.name not in schema.names]
    return aligned(table, pa.schema([*schema, *others]))


def read_rows(file: Path, view: StoredView) -> pa.Table:
    """The view's rows of the file, with its columns alone; without rows of another key."""
    known = pq.read_schema(file).names
    table = pq.read_table(file, columns=[name for name in view.schema.names if name in known])
    table = aligned(table, view.schema)
    for key in view.keys:
        if table[key].null_count:
            table = table.filter(pc.is_valid(table[key]))
    return table


def without_repeats(before: pa.Table, new: pa.Table, keys: list[str], created: str) -> pa.Table:
    """The rows of `new` that differ from the last values of the same keys, which a client's retry repeats.

    A row that repeats earlier values is a change back, and is kept. `keys` are the entity and the event time, `created`
    the column by which rows are ordered.
    """
    both = pa.concat_tables([before, new])
    codes = key_codes([both[key] for key in keys])
    is_touched = np.isin(codes[: len(before)], codes[len(before) :])
    chosen = np.concatenate([np.flatnonzero(is_touched), np.arange(len(before), len(both))])
    touched, codes = both.take(chosen), codes[chosen]
    order = np.lexsort((times_of(touched[created]), codes))
    ordered = touched.take(order)
    changes = codes[order] != np.roll(codes[order], 1)
    changes[:1] = True
    for name in ordered.column_names:
        if name not in keys and name != created:
            changes |= _changes(ordered[name])
    kept = np.empty(len(order), bool)
    kept[order] = changes
    return new.filter(pa.array(kept[int(is_touched.sum()) :]))


def _changes(column: pa.ChunkedArray) -> Any:
    """Whether each value differs from the one before; two nulls do not."""
    codes = key_codes([column])
    return codes != np.roll(codes, 1)


def file_source(view: FeatureView) -> FileSource:
    """The file source of the view's offline rows; raises TypeError for another kind of source."""
    if not isinstance(view.batch_source, FileSource):
        raise TypeError(f"{view.name}: this offline store holds files, not {type(view.batch_source).__name__}")
    return view.batch_source


def file_of(config: RepoConfig, view: FeatureView) -> SharedFile:
    """The file of the view's offline rows."""
    path = file_source(view).path
    return shared_file(path if is_remote(path) else str(Path(config.repo_path or ".") / path))


def _moments(view: FeatureView, entity_df: pa.Table) -> pa.Table:
    """The keys and event times, with the view's types."""
    stored = stored_view(view)
    mapped = view.projection.join_key_map
    columns = [cast(entity_df[mapped.get(key, key)], stored.schema.field(key).type) for key in stored.keys]
    times = entity_df[EVENT_TIME].cast(TIME, safe=False)
    return pa.table([*columns, times], names=[*stored.keys, stored.event_time])
