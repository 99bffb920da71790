"""Follows the Feast registry: the newest good state serves, and a bad one is counted and ignored."""

import asyncio
import logging
import time
from pathlib import Path

from feast import FeatureStore
from feast.protos.feast.core.Registry_pb2 import Registry as RegistryProto

from beacon_core.domain.errors import BeaconError
from beacon_core.domain.masking import message_with_type
from beacon_core.platform.shared_files import SharedFile, is_remote, shared_file
from beacon_feature_serving.catalog.catalog import Catalog
from beacon_feature_serving.instruments import Instruments

log = logging.getLogger(__name__)

POLL_SECONDS, REMOTE_SECONDS = 1.0, 5.0


class RegistryError(RuntimeError):
    """The registry could be read, but is incomplete."""


class FeatureRegistry:
    """Holds the catalog in service and replaces it when the registry changes."""

    def __init__(self, store: FeatureStore, instruments: Instruments) -> None:
        self._store = store
        self._instruments = instruments
        self._catalog: Catalog | None = None
        self._seen: object = None
        self._failure = "it has not been read yet"
        config = store.config.registry
        path = str(config.path)
        self._file: SharedFile | None = None
        self._is_remote = is_remote(path)
        if config.registry_type == "file" and (not self._is_remote or path.startswith("s3://")):
            self._file = shared_file(path if self._is_remote else str(Path(store.repo_path) / path))
        self._ttl = max(config.cache_ttl_seconds, 1)

    @property
    def loaded(self) -> bool:
        """Whether there is a catalog to serve from."""
        return self._catalog is not None

    @property
    def catalog(self) -> Catalog:
        """The catalog in service; BeaconError `feature_store_unavailable` before the first one was read."""
        if self._catalog is None:
            raise BeaconError("feature_store_unavailable", f"the registry cannot be read: {self._failure}")
        return self._catalog

    def refresh(self) -> None:
        """Read the registry if it changed since the last good read."""
        try:
            state = self._state()
            if state == self._seen:
                return
            catalog = Catalog(self._read(), self._store.config)
            catalog.resolve_services()
            self._instruments.materialized(catalog.materialized())
        except Exception as error:  # noqa: BLE001 - whatever a broken registry raises, the last good one goes on serving
            self._instruments.registry_failures.inc()
            failure = message_with_type(error)
            if failure != self._failure:
                log.warning("registry not read, the last good one serves on", extra={"reason": failure})
            self._failure = failure
            return
        self._catalog, self._seen, self._failure = catalog, state, ""
        log.info("registry read", extra={"views": sorted(catalog.views)})

    async def watch(self) -> None:
        """Refresh every `POLL_SECONDS`, for ever; a registry far away less often."""
        while True:
            await asyncio.sleep(REMOTE_SECONDS if self._is_remote else POLL_SECONDS)
            await asyncio.to_thread(self.refresh)

    def _state(self) -> object:
        """A value that changes with the registry: facts of its file, or of another kind of it the time in TTLs."""
        if self._file is None:
            return time.monotonic() // self._ttl
        return self._file.version()

    def _read(self) -> RegistryProto:
        if self._file is None:
            self._store.refresh_registry()
            remote: RegistryProto = self._store.registry.proto()
            return remote
        with self._file.reading() as path:
            proto: RegistryProto = RegistryProto.FromString(path.read_bytes())
        # Feast rewrites the file in place. The project comes last in it, so without it the file is cut off, even
        # where the cut falls between two entries and what is left parses.
        if not any(project.spec.name == self._store.project for project in proto.projects):
            raise RegistryError(
                f"{self._file.name} holds no project {self._store.project}; half written, or not applied"
            )
        return proto
