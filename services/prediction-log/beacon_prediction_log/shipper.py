"""Ships the spool to the database in the background: what is committed is dropped, and nothing before.

spool -> next_chunk -> insert, commit -> shipped
"""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry

from beacon_core.domain.masking import message_of
from beacon_core.observability import metrics
from beacon_core.spool.segments import QUARANTINE, no_writer
from beacon_prediction_log.database import Database
from beacon_prediction_log.tail import SpoolTail

log = logging.getLogger(__name__)

SHIP_SECONDS = 0.25
# Small, as SQLite has one writer at a time; not smaller, as each commit rewrites the last page of every index.
SHIP_BYTES = 128 << 10
RETRY_SECONDS = (0.5, 1, 2, 5)
# While predictions arrive, the shipper works in small steps and rests after each, as it may share a core with
# inference. It rests REST_FACTOR times as long as the step took, less the larger the backlog is, and not at all above
# BACKLOG_WITHOUT_REST: a pod that terminates has only seconds to ship the rest.
REST_FACTOR = 19
BACKLOG_WITHOUT_REST = 50_000
LAST_LOOK_SECONDS = 0.05


class ShipCounters:
    """What is counted of all spools that a process ships."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.shipped = metrics.counter(metrics.LOG_SHIPPED, registry)
        self.quarantined = metrics.counter(metrics.LOG_QUARANTINED, registry)
        self.failures = metrics.counter(metrics.LOG_SHIP_FAILURES, registry)


def ship_once(
    folder: Path, tail: SpoolTail, database: Database, counters: ShipCounters, rest: Callable[[], None] = lambda: None
) -> bool:
    """Ship the oldest lines of a spool, with a call of `rest` before each statement; True if there may be more."""
    chunk = tail.next_chunk(SHIP_BYTES)
    if chunk is None:
        return False
    database.insert(chunk.records, rest)
    if chunk.unreadable:
        _quarantine(folder / QUARANTINE, chunk.unreadable)
        counters.quarantined.inc(len(chunk.unreadable))
    tail.shipped(chunk)
    counters.shipped.inc(sum(map(len, chunk.records)))
    return True


def _quarantine(file: Path, lines: list[bytes]) -> None:
    with file.open("ab") as stream:
        stream.write(b"\n".join(lines) + b"\n")
    log.error(
        "the spool has lines that are not records of this revision: they are kept in quarantine.txt, and not "
        "shipped; the revision that wrote them can read them",
        extra={"lines": len(lines), "file": str(file)},
    )


class Shipper:
    """A thread that ships what inference appends, until it is stopped and inference has ended."""

    def __init__(
        self, folder: Path, tail: SpoolTail, database: Database, registry: CollectorRegistry, counters: ShipCounters
    ) -> None:
        self._folder = folder
        self._tail = tail
        self._database = database
        self._counters = counters
        # The thread's CPU time, and what had been appended, at its last rest.
        self._rested, self._seen = 0.0, 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._ship_for_ever, name="shipper", daemon=True)
        metrics.gauge(metrics.SPOOL_RECORDS, registry).set_function(tail.count_waiting)
        metrics.gauge(metrics.SPOOL_BYTES, registry).set_function(tail.size)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def stop(self, timeout: float) -> None:
        """Ship all that comes until inference has ended, for `timeout` seconds; the rest stays for the next process."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _ship_for_ever(self) -> None:
        self._database.warm()
        self._rested = time.thread_time()
        failures = 0
        while True:
            try:
                more = self._ship_once()
                failures = 0
            except Exception as error:  # noqa: BLE001 - nothing may end this thread
                # While the database fails, the spool keeps the records and this thread retries.
                failures += 1
                self._counters.failures.inc()
                if failures in {1, 10} or failures % 100 == 0:
                    log.warning(
                        "the prediction log cannot be shipped", extra={"reason": message_of(error), "tries": failures}
                    )
                more = False
            if self._stopping.is_set():
                if failures or (not more and self._ends()):
                    return
                if not more:
                    time.sleep(LAST_LOOK_SECONDS)
            elif not more:
                self._stopping.wait(RETRY_SECONDS[min(failures, len(RETRY_SECONDS)) - 1] if failures else SHIP_SECONDS)

    def _ship_once(self) -> bool:
        return ship_once(self._folder, self._tail, self._database, self._counters, self._rest)

    def _ends(self) -> bool:
        """Whether nobody writes any more, and all is shipped; then no segment is left."""
        with no_writer(self._folder) as is_last:
            if not is_last or self._tail.next_chunk(1) is not None:
                return False
            self._tail.drop_last()
            return True

    def _rest(self) -> None:
        """Leave the core to inference, if predictions arrived since the last rest."""
        took = time.thread_time() - self._rested
        waiting, appended = self._tail.count_waiting(), self._tail.appended
        self._stopping.wait(rest_seconds(took, waiting, busy=appended != self._seen))
        self._rested, self._seen = time.thread_time(), appended


def rest_seconds(took: float, waiting: int, *, busy: bool) -> float:
    """How long to rest after work that `took` so many seconds; `busy` is whether predictions arrived meanwhile."""
    return took * REST_FACTOR * max(0.0, 1 - waiting / BACKLOG_WITHOUT_REST) if busy else 0.0
