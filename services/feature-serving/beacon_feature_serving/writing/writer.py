"""Writes to Feast's stores, one at a time: Feast's stores share their connections between threads."""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import pyarrow as pa
from feast import FeatureStore, FeatureView
from feast.errors import FeatureViewNotFoundException

from beacon_core.domain.errors import BeaconError
from beacon_core.feature_store.errors import FeatureStoreError
from beacon_core.feature_store.materialization import lags_at
from beacon_core.feature_store.offline import file_of
from beacon_core.feature_store.online import write_online
from beacon_core.feature_store.stored_view import stored_view
from beacon_core.platform import clock
from beacon_core.web.bounds import VALUES_PER_ROW
from beacon_feature_serving.catalog.registry import FeatureRegistry
from beacon_feature_serving.errors import from_feast_error
from beacon_feature_serving.stores.reader import OnlineStoreReader
from beacon_feature_serving.writing.newest import newer_than, newest_each
from beacon_feature_serving.writing.outages import outages_as_503

# A write waits this long for another one; a materialization may take minutes.
WAIT_SECONDS = 5.0
# The reader's own time limit is much shorter.
READ_SECONDS = 5.0
TIME_COLUMNS = 2
VALUES_PER_COLUMN = 3
"""So many commas a body may have for each column and row: texts have commas, too."""
ReadT = TypeVar("ReadT")


class Writer:
    """What every write needs: the store for one write at a time, its views, and what is online already."""

    def __init__(self, store: FeatureStore, registry: FeatureRegistry, reader: OnlineStoreReader) -> None:
        server = store.config.feature_server
        if server is not None and server.offline_push_batching_enabled:
            raise FeatureStoreError(
                "feature_store.yaml: feature_server.offline_push_batching_enabled: a push is on disk when it is "
                "answered, batching in memory is not supported"
            )
        self.store = store
        self._registry = registry
        self._reader = reader
        self._loop: asyncio.AbstractEventLoop | None = None
        self._writing = threading.Lock()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take the event loop that the reader lives on."""
        self._loop = loop

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """One write at a time."""
        if not acquire(self._writing):
            raise BeaconError("overloaded", "another write or a materialization is under way; try again")
        try:
            with outages_as_503():
                yield
        finally:
            self._writing.release()

    @property
    def values_per_row(self) -> int:
        """How many values a row may have in a body: as the widest view needs, and at least `VALUES_PER_ROW`."""
        views = self._registry.catalog.views.values() if self._registry.loaded else ()
        widths = [len(view.entity_columns) + len(view.features) + TIME_COLUMNS for view in views]
        return max(VALUES_PER_ROW, VALUES_PER_COLUMN * max(widths, default=0))

    def check(self) -> None:
        """Raise BeaconError `feature_store_unavailable` if the online store does not answer."""
        self._on_loop(self._reader.check())

    def newer_rows(self, view: FeatureView, table: pa.Table) -> pa.Table:
        """The newest row of each entity, unless the online store has a newer one; BeaconError where it is down."""
        self._registry.refresh()
        (read,) = self._registry.catalog.plan(None, (f"{view.name}:{view.features[0].name}",), full_names=False).reads
        stored = stored_view(view)
        newest = newest_each(stored, table)
        keys = read.read_keys([newest[name].to_pylist() for name in read.keys], read.keys)
        return newer_than(stored, newest, self._on_loop(self._reader.read(read, keys)))

    def write_offline(self, view: FeatureView, table: pa.Table) -> None:
        """Add rows to the offline store."""
        self.store._get_provider().ingest_df_to_offline_store(view, table)

    def write_online(self, view: FeatureView, table: pa.Table) -> None:
        """Write rows to the online store, each entity once, with the view's lags as of now."""
        stored = stored_view(view)
        if stored.lags:
            with file_of(self.store.config, view).reading() as file:
                for name, column in lags_at(stored, file, table, clock.now()).items():
                    table = table.append_column(name, column)
        write_online(self.store, view, table)

    def view(self, name: str, *, cached: bool) -> FeatureView:
        """Find a view by its name; raises `FeastResponseError`."""
        for view in self.store.list_feature_views(allow_cache=cached):
            if view.name == name:
                return view
        raise from_feast_error(FeatureViewNotFoundException(name, self.store.project), "feature_view_name")

    def view_names(self, names: list[str] | None) -> list[str]:
        """Check the names against the registry; None names all views."""
        with outages_as_503():
            if names is None:
                return [view.name for view in self.store.list_feature_views(allow_cache=False)]
            return [self.view(name, cached=False).name for name in names]

    def _on_loop(self, reading: Coroutine[Any, Any, ReadT]) -> ReadT:
        if self._loop is None:
            reading.close()
            raise BeaconError("feature_store_unavailable", "the service has not started")
        return asyncio.run_coroutine_threadsafe(reading, self._loop).result(READ_SECONDS)


def acquire(lock: threading.Lock, *, wait: bool = True) -> bool:
    """Acquire a lock, within `WAIT_SECONDS` if `wait`; False if it is still held."""
    return lock.acquire(timeout=WAIT_SECONDS if wait else 0)
