"""Writes rows to the online store, the newest of each entity; nothing older than what is there replaces it.

Feast's stores for SQLite and Redis take one protobuf message per cell, which limits them to a few thousand entities
per second. So these two are written directly, in Feast's own format; any other store by Feast's `online_write_batch`.
"""

import contextlib
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from feast import FeatureStore, FeatureView
from feast.infra.online_stores.helpers import _mmh3, compute_table_id, compute_versioned_name
from feast.infra.online_stores.redis import RedisClient, RedisOnlineStoreConfig, RedisType
from feast.infra.online_stores.sqlite import SqliteOnlineStoreConfig
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.repo_config import RepoConfig
from google.protobuf.timestamp_pb2 import Timestamp

from beacon_core.feature_store.cells import to_cells, to_texts, to_values
from beacon_core.feature_store.entity_keys import key_encoder
from beacon_core.feature_store.point_in_time import Ints, times_of
from beacon_core.feature_store.stored_view import StoredView, stored_view

BATCH_ROWS = 5000
FEATURES_PER_STATEMENT = 100
"""Within the 999 values that any build of SQLite takes."""
MICROSECONDS = 1_000_000


class Rows(NamedTuple):
    """Rows to write: their encoded keys, event and created times in microseconds since 1970, and the features."""

    keys: list[bytes]
    times: list[int]
    created: list[int]
    features: dict[str, pa.ChunkedArray]


def write_online(store: FeatureStore, view: FeatureView, table: pa.Table) -> None:
    """Write `table`, which has each entity once: the columns of the view's file, and its lags."""
    stored = stored_view(view)
    for start in range(0, len(table), BATCH_ROWS):
        _write_batch(store, view, stored, table.slice(start, BATCH_ROWS))


def _write_batch(store: FeatureStore, view: FeatureView, stored: StoredView, table: pa.Table) -> None:
    config = store.config
    if is_plain_sqlite(config):
        _write_sqlite(store, view, _rows(view, stored, table))
    elif is_plain_redis(config) and not config.online_store.key_ttl_seconds:
        _write_redis(store, view, _rows(view, stored, table))
    else:
        _write_by_feast(store, view, stored, table)


def is_plain_sqlite(config: RepoConfig) -> bool:
    """Whether the online store is Feast's SQLite store, without its extras for texts and vectors."""
    online = config.online_store
    if not isinstance(online, SqliteOnlineStoreConfig):
        return False
    return not (online.vector_enabled or online.text_search_enabled or online.enable_openai_compatible_store)


def is_plain_redis(config: RepoConfig) -> bool:
    """Whether the online store is one Redis, and no cluster or sentinel."""
    online = config.online_store
    return (
        isinstance(online, RedisOnlineStoreConfig)
        and online.redis_type == RedisType.redis
        and online.client == RedisClient.redis
    )


def delete_online(store: FeatureStore, view: FeatureView, keys: pa.Table, *, dry_run: bool) -> int | None:
    """Delete what is online of the entities `keys` in a view, and count it: cells in SQLite, entities in Redis.

    None for another store: Feast has no deletion of one entity. Redis holds all views of an entity in one value, which
    is deleted whole.
    """
    encoded = encoded_keys(view, stored_view(view), keys)
    config = store.config
    if is_plain_sqlite(config):
        return _delete_sqlite(config, view, encoded, dry_run)
    if isinstance(config.online_store, RedisOnlineStoreConfig):
        feast: Any = store._get_provider()
        client = feast.online_store._get_client(config.online_store)
        names = [key + config.project.encode() for key in encoded]
        return sum(int(client.exists(name) if dry_run else client.delete(name)) for name in names)
    return None


def _delete_sqlite(config: RepoConfig, view: FeatureView, keys: Sequence[bytes], dry_run: bool) -> int:
    file, table = Path(config.repo_path or ".") / config.online_store.path, _table(config, view)
    if not file.is_file():
        return 0
    verb = "SELECT count(*)" if dry_run else "DELETE"
    with contextlib.closing(sqlite3.connect(file, timeout=10)) as connection, connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
            return 0
        found = 0
        for key in keys:  # the table's name is Feast's own, the values are bound
            cursor = connection.execute(f'{verb} FROM "{table}" WHERE entity_key = ?', (key,))
            found += cursor.fetchone()[0] if dry_run else cursor.rowcount
    return found


def keep_newest(config: RepoConfig, view: object) -> None:
    """Let no row of `view` in SQLite be replaced by one with an earlier event time, whoever writes it.

    Safe to repeat. A push that arrives during a materialization is newer than the rows that the materialization read.
    Other stores are left as they are: Feast's Redis store compares the times by itself.
    """
    online = config.online_store
    if not isinstance(online, SqliteOnlineStoreConfig):
        return
    table = _table(config, view)
    with contextlib.closing(sqlite3.connect(Path(config.repo_path or ".") / online.path)) as connection, connection:
        # The names are Feast's own, of what product.yaml names.
        connection.execute(
            f'CREATE TRIGGER IF NOT EXISTS "{table}_newest" BEFORE UPDATE ON "{table}"'
            " WHEN NEW.event_ts < OLD.event_ts BEGIN SELECT RAISE(IGNORE); END"
        )


def key_order(view: FeatureView, stored: StoredView, table: pa.Table) -> Ints:
    """The order of the rows of `table` by their keys, as the online store holds them."""
    keys = encoded_keys(view, stored, table)
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)


def encoded_keys(view: FeatureView, stored: StoredView, table: pa.Table) -> list[bytes]:
    """The key of each row as the online stores hold it."""
    types = {column.name: column.dtype.to_value_type() for column in view.entity_columns}
    return key_encoder(types)([table[key].to_pylist() for key in stored.keys])


def _rows(view: FeatureView, stored: StoredView, table: pa.Table) -> Rows:
    return Rows(
        keys=encoded_keys(view, stored, table),
        times=times_of(table[stored.event_time]).tolist(),
        created=times_of(table[stored.created]).tolist() if stored.created else [0] * len(table),
        features={name: table[name] for name in stored.features},
    )


def _write_sqlite(store: FeatureStore, view: FeatureView, rows: Rows) -> None:
    feast: Any = store._get_provider()
    connection = feast.online_store._get_conn(store.config)
    times = [_wall_clock(time // MICROSECONDS) for time in rows.times]
    created = [_wall_clock(time // MICROSECONDS) for time in rows.created]
    names = list(rows.features)
    with connection:
        for first in range(0, len(names), FEATURES_PER_STATEMENT):
            some = names[first : first + FEATURES_PER_STATEMENT]
            columns = [
                cells
                for name in some
                for cells in (repeat(name, len(times)), to_cells(rows.features[name]), to_texts(rows.features[name]))
            ]
            # In order of key: so fewer pages of the tables' trees are touched.
            entities = sorted(zip(rows.keys, times, created, *columns, strict=True))
            connection.executemany(_upsert(_table(store.config, view), len(some)), entities)


@lru_cache
def _upsert(table: str, features: int) -> str:
    """The statement that writes so many features of one entity: its key and times, then each name, cell and text.

    Features together take little more than half of the time that they take one by one.
    """
    cells = (f"(?1, ?{place}, ?{place + 1}, ?{place + 2}, ?2, ?3)" for place in range(4, 4 + 3 * features, 3))
    # The table's name is Feast's own, the values are bound.
    return (
        f'INSERT INTO "{table}"'  # noqa: S608 - Feast's name, bound values
        " (entity_key, feature_name, value, value_text, event_ts, created_ts)"
        f" VALUES {', '.join(cells)}"
        " ON CONFLICT(entity_key, feature_name) DO UPDATE SET value = excluded.value,"
        " value_text = excluded.value_text, event_ts = excluded.event_ts, created_ts = excluded.created_ts"
    )


@lru_cache(maxsize=4096)
def _wall_clock(seconds: int) -> int:
    """Feast's SQLite store holds the UTC wall clock as if it were local time."""
    return int(datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).timestamp())


def _write_redis(store: FeatureStore, view: FeatureView, rows: Rows) -> None:
    config = store.config
    name = compute_versioned_name(view, config.registry.enable_online_feature_view_versioning)
    stamp, project = f"_ts:{name}".encode(), config.project.encode()
    keys = [key + project for key in rows.keys]
    fields = [_mmh3(f"{name}:{feature}") for feature in rows.features]
    cells = list(zip(*map(to_cells, rows.features.values()), strict=True))
    feast: Any = store._get_provider()
    client = feast.online_store._get_client(config.online_store)
    connection = client.connection_pool.get_connection()
    try:
        stored = _ask(connection, [_command(b"HGET", key, stamp) for key in keys])
        commands = []
        for key, time, before, row in zip(keys, rows.times, stored, cells, strict=True):
            if before is None or _microseconds(before) <= time:
                pairs = [part for pair in zip(fields, row, strict=True) for part in pair]
                commands.append(_command(b"HSET", key, stamp, _timestamp(time), *pairs))
        _ask(connection, commands)
    except BaseException:
        connection.disconnect()  # replies that nobody read must not be the next one's
        raise
    finally:
        client.connection_pool.release(connection)


def _ask(connection: Any, commands: Sequence[bytes]) -> list[Any]:
    """Send the commands in one go; their replies."""
    if commands:
        connection.send_packed_command([b"".join(commands)])
    return [connection.read_response() for _ in commands]


def _command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])


@lru_cache(maxsize=4096)
def _timestamp(microseconds: int) -> bytes:
    seconds, rest = divmod(microseconds, MICROSECONDS)
    message: bytes = Timestamp(seconds=seconds, nanos=rest * 1000).SerializeToString()
    return message


def _microseconds(stored: bytes) -> int:
    time = Timestamp.FromString(stored)
    return int(time.seconds) * MICROSECONDS + int(time.nanos) // 1000


def _write_by_feast(store: FeatureStore, view: FeatureView, stored: StoredView, table: pa.Table) -> None:
    keys = zip(*(to_values(table[key]) for key in stored.keys), strict=True)
    features = zip(*(to_values(table[name]) for name in stored.features), strict=True)
    times = table[stored.event_time].to_pylist()
    created = table[stored.created].to_pylist() if stored.created else [None] * len(table)
    rows = [
        (
            EntityKey(join_keys=list(stored.keys), entity_values=list(key)),
            dict(zip(stored.features, row, strict=True)),
            *of,
        )
        for key, row, of in zip(keys, features, zip(times, created, strict=True), strict=True)
    ]
    store._get_provider().online_write_batch(store.config, view, rows, None)


def _table(config: RepoConfig, view: object) -> str:
    name: str = compute_table_id(config.project, view, config.registry.enable_online_feature_view_versioning)
    return name
