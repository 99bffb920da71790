"""Feast's SQLite online store, read with one statement."""

import asyncio
import calendar
import sqlite3
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from feast.repo_config import RepoConfig

from beacon_core.domain.masking import message_of
from beacon_core.platform.file_urls import file_uri
from beacon_core.web.timeouts import tick_timeout
from beacon_feature_serving.catalog.plans import ViewRead
from beacon_feature_serving.rows import NANOSECONDS, UNKNOWN, FeatureRow, decode_value
from beacon_feature_serving.stores.reader import unavailable

# Writers do not block readers (WAL). What does, such as a recovery of the file by another process, is over soon: a read
# waits for it without blocking the event loop.
BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
RETRY_SECONDS = 0.005


class SqliteReader:
    """Reads in the event loop's own thread: a read takes tens of microseconds, and writers do not block it (WAL)."""

    def __init__(self, config: RepoConfig, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        path = Path(config.online_store.path)
        self._path = path if path.is_absolute() else Path(config.repo_path or ".") / path
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._checked = 0.0

    async def read(self, view: ViewRead, keys: Sequence[bytes]) -> list[FeatureRow | None]:
        marks = ",".join("?" * len(keys))
        # The table's name is Feast's own, the values are bound.
        query = f'SELECT entity_key, feature_name, value, event_ts FROM "{view.table}" WHERE entity_key IN ({marks})'  # noqa: S608 - Feast's name, bound values
        return _rows(await self._query(query, keys), view.columns, keys)

    async def check(self) -> None:
        await self._query("SELECT 1", ())

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _query(self, query: str, values: Sequence[bytes]) -> list[Any]:
        try:
            found = self._try(query, values)
            if found is None:
                async with tick_timeout(self._timeout_seconds):
                    while (found := self._try(query, values)) is None:  # noqa: ASYNC110 - a file lock has no event
                        await asyncio.sleep(RETRY_SECONDS)
            return found
        except (sqlite3.Error, OSError) as error:  # TimeoutError is an OSError
            await self.close()
            raise unavailable(message_of(error)) from error

    def _try(self, query: str, values: Sequence[bytes]) -> list[Any] | None:
        """The rows; None while another process has locked the file."""
        try:
            return self._open().execute(query, values).fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF in BUSY:
                return None
            raise

    def _open(self) -> sqlite3.Connection:
        """The connection; a new one when the file was replaced, which is checked once per second."""
        now = time.monotonic()
        if self._connection is not None and now - self._checked < 1:
            return self._connection
        inode = self._path.stat().st_ino
        if self._connection is None or inode != self._inode:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            connection = sqlite3.connect(
                f"{file_uri(self._path)}?mode=rw",
                uri=True,
                timeout=0,
                check_same_thread=False,
            )
            try:
                connection.execute("PRAGMA journal_mode=WAL")
            except sqlite3.Error:
                connection.close()
                raise
            self._connection, self._inode = connection, inode
        self._checked = now
        return self._connection


def _rows(
    cells: list[tuple[bytes, str, bytes, int]], columns: Sequence[str], keys: Sequence[bytes]
) -> list[FeatureRow | None]:
    """The wanted columns of each key; a row is as old as the oldest of them."""
    position = {column: index for index, column in enumerate(columns)}
    blank = [UNKNOWN] * len(columns)
    found: dict[bytes, list[Any]] = {}
    oldest: dict[bytes, int] = {}
    for key, feature, value, event_time in cells:
        index = position.get(feature)
        if index is None:
            continue
        row = found.get(key)
        if row is None:
            row = found[key] = blank.copy()
            oldest[key] = event_time
        elif event_time < oldest[key]:
            oldest[key] = event_time
        row[index] = decode_value(value)
    return [FeatureRow(_nanoseconds(oldest[key]), found[key]) if key in found else None for key in keys]


@lru_cache(maxsize=4096)
def _nanoseconds(stored: int) -> int:
    """Feast stores the UTC wall clock as if it were local time; this undoes it."""
    return calendar.timegm(time.localtime(stored)) * NANOSECONDS
