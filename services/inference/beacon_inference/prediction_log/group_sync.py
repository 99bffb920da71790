"""Group fsync: the records of all requests that wait at the same time are brought to the disk at once.

While one fsync runs, others write; all of them wait for the next one, which begins when the first has ended. So a
request waits for at most two, and a busy server has as many as its disk can do, not one for each request.
"""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

from beacon_core.spool.segments import SpoolWriter, sync_segments

log = logging.getLogger(__name__)


class GroupSync:
    """Brings a spool to the disk, from one event loop."""

    def __init__(self, spool: SpoolWriter) -> None:
        self._spool = spool
        self._thread = ThreadPoolExecutor(1, "spool-fsync")
        self._running: asyncio.Task[bool] | None = None
        self._next: asyncio.Task[bool] | None = None

    async def synced(self) -> bool:
        """Wait until all that was written so far is on the disk; False where that is not sure."""
        if self._next is None:
            self._next = asyncio.create_task(self._sync(self._running))
        return await asyncio.shield(self._next)  # one client that goes away ends nobody's fsync

    def close(self) -> None:
        """End the thread, after what it does."""
        self._thread.shutdown()

    async def _sync(self, before: "asyncio.Task[bool] | None") -> bool:
        if before is not None:
            await asyncio.wait([before])
        self._running, self._next = self._next, None  # who writes from now on waits for another one
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, sync_segments, self._spool.take_unsynced())
        except OSError as error:
            log.error("the spool could not be synced: %s", error.strerror)
            # The kernel reports such a failure once, and takes the pages for written: nothing may follow them.
            self._spool.begin_segment()
            return False
        return True
