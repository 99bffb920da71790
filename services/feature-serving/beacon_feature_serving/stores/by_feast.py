"""Any online store that Feast knows, read by Feast's own class in a thread."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from feast import FeatureStore
from feast.infra.key_encoding_utils import deserialize_entity_key

from beacon_core.domain.masking import message_with_type
from beacon_core.web.timeouts import tick_timeout
from beacon_feature_serving.catalog.plans import ViewRead
from beacon_feature_serving.rows import NANOSECONDS, UNKNOWN, FeatureRow, decode_value
from beacon_feature_serving.stores.reader import unavailable

THREADS = 8


class FeastReader:
    """Slower than the direct readers, and for every store: what a managed service or a warehouse needs."""

    def __init__(self, store: FeatureStore, timeout_seconds: float) -> None:
        self._store = store
        self._timeout_seconds = timeout_seconds
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="online-read")

    async def read(self, view: ViewRead, keys: Sequence[bytes]) -> list[FeatureRow | None]:
        try:
            async with tick_timeout(self._timeout_seconds):
                loop = asyncio.get_running_loop()
                found = await loop.run_in_executor(self._threads, self._read, view, keys)
        except Exception as error:  # each store's driver has errors of its own
            raise unavailable(message_with_type(error)) from error
        return [_row(event_time, values, view.columns) for event_time, values in found]

    async def check(self) -> None:
        """Do nothing: Feast's stores have no cheap check, and a write to a store that is down fails by itself."""

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _read(self, view: ViewRead, keys: Sequence[bytes]) -> list[tuple[datetime | None, dict[str, Any] | None]]:
        version = self._store.config.entity_key_serialization_version
        protos = [deserialize_entity_key(key, version) for key in keys]
        return self._store._get_provider().online_read(self._store.config, view.view, protos, list(view.columns))


def _row(event_time: datetime | None, values: dict[str, Any] | None, columns: Sequence[str]) -> FeatureRow | None:
    if event_time is None or values is None or event_time.timestamp() == 0:
        return None
    cells = [values.get(column) for column in columns]
    decoded = [UNKNOWN if cell is None else decode_value(cell.SerializeToString()) for cell in cells]
    microseconds = round(event_time.timestamp() * 1_000_000)
    return FeatureRow(microseconds * (NANOSECONDS // 1_000_000), decoded)
