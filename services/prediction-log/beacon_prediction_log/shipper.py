"""Ships the spool to a store in the background: what every store has committed is dropped, and nothing before.

spool -> next_chunk -> insert, commit -> shipped
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry

from beacon_core.domain.masking import message_of
from beacon_core.observability import metrics
from beacon_core.spool.segments import QUARANTINE, no_writer
from beacon_prediction_log import garbage
from beacon_prediction_log.stores import LogSink, forget_spool_id
from beacon_prediction_log.tail import SpoolTail

log = logging.getLogger(__name__)

SHIP_SECONDS = 0.25
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
        self.rows_of = metrics.counter(metrics.STORE_ROWS, registry)
        self.failures_of = metrics.counter(metrics.STORE_FAILURES, registry)

    def failed(self, store: str) -> None:
        """Count a failed attempt."""
        self.failures.inc()
        self.failures_of.labels(store).inc()


def watch_spool(
    tail: SpoolTail, stores: Sequence[LogSink], counters: ShipCounters, registry: CollectorRegistry
) -> None:
    """Show what waits in the spool, and for which store; each store has its figures from the start."""
    metrics.gauge(metrics.SPOOL_RECORDS, registry).set_function(tail.count_waiting)
    metrics.gauge(metrics.SPOOL_BYTES, registry).set_function(tail.size)
    waiting = metrics.gauge(metrics.STORE_WAITING, registry)
    for store in stores:
        waiting.labels(store.name).set_function(partial(tail.count_waiting, store.name))
        counters.rows_of.labels(store.name)
        counters.failures_of.labels(store.name)


def ship_once(
    folder: Path, tail: SpoolTail, store: LogSink, counters: ShipCounters, rest: Callable[[], None] = lambda: None
) -> bool:
    """Ship the oldest lines of a spool, with a call of `rest` before each step; True if there may be more."""
    chunk = tail.next_chunk(store.chunk_bytes, store.name)
    if chunk is None:
        return False
    store.insert(folder, chunk, rest)
    is_first = store.name == tail.first
    if chunk.unreadable and is_first:
        _quarantine(folder / QUARANTINE, chunk.unreadable)
        counters.quarantined.inc(len(chunk.unreadable))
    tail.shipped(chunk, store.name)
    counters.rows_of.labels(store.name).inc(chunk.predictions)
    if is_first:
        counters.shipped.inc(chunk.predictions)
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
    """A thread that ships to one store what inference appends, until it is stopped and inference has ended."""

    def __init__(self, folder: Path, tail: SpoolTail, store: LogSink, counters: ShipCounters) -> None:
        self._folder = folder
        self._tail = tail
        self._store = store
        self._counters = counters
        # The thread's CPU time, and what had been appended, at its last rest.
        self._rested, self._seen = 0.0, 0
        self._committed = -math.inf  # what an earlier process left is shipped at once
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._ship_for_ever, name=f"shipper-{store.name}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def begin_stop(self) -> None:
        """Let what gathers be shipped at once, and the thread end with inference."""
        self._stopping.set()

    def stop(self, timeout: float) -> None:
        """Ship all that comes until inference has ended, for `timeout` seconds; the rest stays for the next process."""
        self.begin_stop()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _ship_for_ever(self) -> None:
        failures = 0
        is_warm = False
        while True:
            try:
                if not is_warm:
                    self._store.warm()
                    is_warm = True
                    self._rested = time.thread_time()
                more = self._ship_once()
                if failures:
                    log.info("the prediction log is shipped again", extra={"store": self._store.name})
                failures = 0
            except Exception as error:  # noqa: BLE001 - nothing may end this thread
                # While the store fails, the spool keeps the records and this thread retries.
                failures += 1
                self._counters.failed(self._store.name)
                if failures in {1, 10} or failures % 100 == 0:
                    log.warning(
                        "the prediction log cannot be shipped",
                        extra={"store": self._store.name, "reason": message_of(error), "tries": failures},
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
        if self._gathers():
            return False
        more = ship_once(self._folder, self._tail, self._store, self._counters, self._rest)
        if more:
            garbage.look()
            self._committed = time.monotonic()
        return more

    def _gathers(self) -> bool:
        """Whether a commit now would be a small one, soon after the last."""
        if self._stopping.is_set() or time.monotonic() >= self._committed + self._store.gather_seconds:
            return False
        return self._tail.bytes_waiting(self._store.name) < self._store.chunk_bytes

    def _ends(self) -> bool:
        """Whether nobody writes any more, and this store has all; then no segment is left that every store has."""
        with no_writer(self._folder) as is_last:
            if not is_last or self._tail.next_chunk(1, self._store.name) is not None:
                return False
            self._tail.drop_last()
            forget_spool_id(self._folder)
            return True

    def _rest(self) -> None:
        """Leave the core to inference, if predictions arrived since the last rest."""
        took = time.thread_time() - self._rested
        waiting, appended = self._tail.count_waiting(self._store.name), self._tail.appended
        self._stopping.wait(rest_seconds(took, waiting, busy=appended != self._seen))
        self._rested, self._seen = time.thread_time(), appended


def rest_seconds(took: float, waiting: int, *, busy: bool) -> float:
    """How long to rest after work that `took` so many seconds; `busy` is whether predictions arrived meanwhile."""
    return took * REST_FACTOR * max(0.0, 1 - waiting / BACKLOG_WITHOUT_REST) if busy else 0.0
