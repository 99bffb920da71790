"""A trigger that makes Feast's SQLite online store keep the newest row; by itself it keeps the last write."""

import contextlib
import sqlite3
from pathlib import Path

from feast.infra.online_stores.helpers import compute_table_id
from feast.infra.online_stores.sqlite import SqliteOnlineStoreConfig
from feast.repo_config import RepoConfig


def keep_newest(config: RepoConfig, view: object) -> None:
    """Let no row of `view` be replaced by one with an earlier event time, whoever writes it; safe to repeat.

    A push that arrives during a materialization is newer than the rows that the materialization read. Other stores are
    left as they are: Feast's Redis store compares the times by itself.
    """
    online = config.online_store
    if not isinstance(online, SqliteOnlineStoreConfig):
        return
    table = compute_table_id(config.project, view, config.registry.enable_online_feature_view_versioning)
    with contextlib.closing(sqlite3.connect(Path(config.repo_path or ".") / online.path)) as connection, connection:
        # The names are Feast's own, of what product.yaml names.
        connection.execute(
            f'CREATE TRIGGER IF NOT EXISTS "{table}_newest" BEFORE UPDATE ON "{table}"'
            " WHEN NEW.event_ts < OLD.event_ts BEGIN SELECT RAISE(IGNORE); END"
        )
