"""Erasure of an entity from the feature stores: its rows of the offline file, then what is online of it."""

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from feast import FeatureStore, FeatureView
from numpy.typing import NDArray

from beacon_core.data.database import Engine
from beacon_core.data.erasure import ErasedPlace, Subject
from beacon_core.domain.entity_key import parse_key
from beacon_core.domain.product import Product
from beacon_core.feature_store import repo
from beacon_core.feature_store.columns import KEY_TYPES
from beacon_core.feature_store.materialization import forget_rows
from beacon_core.feature_store.offline import to_parquet
from beacon_core.feature_store.online import delete_online
from beacon_core.platform.files import draft_of
from beacon_core.platform.settings import Settings
from beacon_core.platform.shared_files import Change, SharedFile, Write

Mask = NDArray[np.bool_]


def erase(settings: Settings, product: Product, _engine: Engine, subject: Subject, *, dry_run: bool) -> ErasedPlace:
    """Erase an entity; predictions are not in the feature stores. Safe to repeat and to kill."""
    if subject.entity is None or product.entity is None:
        return ErasedPlace()
    file = repo.data_file(settings)
    removed = {file.name: 0}
    # Offline first: a materialization would bring the entity online again. Beside the file are those of former keys.
    for other in file.beside("features.*parquet"):
        removed[other.name] = _erase_offline(other, product, subject, dry_run)
    config = repo.load_config(settings)
    store = FeatureStore(config=config)
    remains: dict[str, list[str]] = {}
    online = 0
    key = parse_key(product.entity, subject.entity)
    columns = zip(product.entity.columns, key, strict=True)
    one = pa.table({name: pa.array([value], KEY_TYPES[kind]) for (name, kind), value in columns})
    for view in _views(store, product):
        found = delete_online(store, view, one, dry_run=dry_run)
        if found is None:
            remains["online store"] = [f"{type(config.online_store).__name__} of Feast cannot delete one entity"]
        online += found or 0
    if not dry_run and online:
        compact_sqlite(Path(config.repo_path or ".") / getattr(config.online_store, "path", ""))
    return ErasedPlace(removed | {"online store": online}, remains)


def rows_of(table: pa.Table, product: Product, subject: Subject, id_column: str = "prediction_id") -> Mask:
    """Which rows are of the subject: by all columns of the key, or by the prediction's id."""
    names = set(table.column_names)
    if subject.entity is None:
        if id_column not in names:
            return np.zeros(len(table), bool)
        return _is_in(table[id_column], subject.ids)
    entity = product.entity
    if entity is None or not set(entity.keys) <= names:
        return np.zeros(len(table), bool)
    masks = [
        _is_in(table[name], [str(value)])
        for name, value in zip(entity.keys, parse_key(entity, subject.entity), strict=True)
    ]
    found: Mask = np.logical_and.reduce(masks)
    return found


def erase_from_parquet(file: Path, product: Product, subject: Subject, *, dry_run: bool) -> Mask | None:
    """Rewrite a Parquet file without the subject's rows, in one step; which rows they were, None where it has none."""
    change, gone = _removal(product, subject, dry_run)
    write = change(file)
    if write is not None:
        with draft_of(file) as draft:
            write(draft)
    return gone[-1]


def erase_from_shared(file: SharedFile, product: Product, subject: Subject, *, dry_run: bool) -> Mask | None:
    """The same of a Parquet file that services share."""
    change, gone = _removal(product, subject, dry_run)
    file.update(change)
    return gone[-1]


def _removal(product: Product, subject: Subject, dry_run: bool) -> tuple[Change, list[Mask | None]]:
    """The change of a file that removes the subject's rows, and which rows they were, once for each time it is made."""
    gone: list[Mask | None] = []

    def without(file: Path) -> Write | None:
        table = pq.read_table(file) if file.is_file() else None
        found = None if table is None else rows_of(table, product, subject)
        gone.append(found if found is not None and found.any() else None)
        if table is None or gone[-1] is None or dry_run:
            return None
        return to_parquet(_without(table, gone[-1]))

    return without, gone


def compact_sqlite(file: Path) -> None:
    """Leave no byte of deleted rows in a SQLite file and its write-ahead log."""
    if not file.is_file():
        return
    with contextlib.closing(sqlite3.connect(file, timeout=10, isolation_level=None)) as connection:
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _erase_offline(file: SharedFile, product: Product, subject: Subject, dry_run: bool) -> int:
    gone = erase_from_shared(file, product, subject, dry_run=dry_run)
    if gone is None:
        return 0
    if not dry_run:
        forget_rows(file, gone)
    return int(gone.sum())


def _views(store: FeatureStore, product: Product) -> list[FeatureView]:
    """The views of every schema version that are of this key."""
    if not Path(str(store.config.registry.path)).exists() and "://" not in str(store.config.registry.path):
        return []
    views = store.list_feature_views(allow_cache=False)
    return [view for view in views if {column.name for column in view.entity_columns} == set(product.keys)]


def _without(table: pa.Table, gone: Mask) -> pa.Table:
    """The other rows; a column of levels keeps no level that only the removed rows had."""
    kept = table.filter(pa.array(~gone))
    for place, field in enumerate(kept.schema):
        if pa.types.is_dictionary(field.type):
            plain = kept[field.name].cast(field.type.value_type)
            kept = kept.set_column(place, field, plain.dictionary_encode().cast(field.type))
    return kept


def _is_in(column: pa.ChunkedArray, texts: Sequence[str]) -> Mask:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type):  # whole numbers of which some are missing
        column = pc.cast(column, pa.int64(), safe=False)
    found = pc.is_in(pc.cast(column, pa.string()), value_set=pa.array(texts, pa.string()))
    mask: Mask = found.to_numpy(zero_copy_only=False).astype(bool)
    return mask
