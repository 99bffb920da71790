"""The prediction log: append to the spool, ship to the database in the background, find by id.

    append -> spool -> ship -> database

A full or broken spool never fails a prediction: it is counted in beacon_prediction_log_dropped_total, and paged.
"""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import msgspec
from prometheus_client import CollectorRegistry

from beacon_core import metrics
from beacon_inference.database import Database
from beacon_inference.record import Record, decode_record, encode_record
from beacon_inference.spool import Spool

log = logging.getLogger(__name__)

SHIP_SECONDS = 0.25
SHIP_BYTES = 128 << 10
RETRY_SECONDS = (0.5, 1, 2, 5)
# While requests come, the shipper rests so many times as long as a batch took it: it shares their core. With this many
# records in the spool it no longer does, so that the spool cannot fill up for politeness.
RESTS = 3
PATIENT_RECORDS = 5_000
# Every drop is counted; the log tells of it this often.
DROPS_TOLD_SECONDS = 60


class PredictionLog:
    """Every acknowledged prediction, from the moment it was sent until it is in the database."""

    def __init__(self, folder: Path, max_bytes: int, database: Database, registry: CollectorRegistry) -> None:
        self._database = database
        self._quarantine = folder / "quarantine.txt"
        self._spool = Spool(folder, max_bytes)
        # Segment -> prediction id -> where its line begins, of all that is not in the database yet.
        self._waiting: defaultdict[int, dict[str, int]] = defaultdict(dict)
        self._offsets: dict[int, int] = {}
        self._silent_until = 0.0
        self._appended = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._ship_for_ever, name="shipper", daemon=True)
        self._dropped = metrics.counter(metrics.LOG_DROPPED, registry)
        self._shipped = metrics.counter(metrics.LOG_SHIPPED, registry)
        self._quarantined = metrics.counter(metrics.LOG_QUARANTINED, registry)
        self._failures = metrics.counter(metrics.LOG_SHIP_FAILURES, registry)
        metrics.gauge(metrics.SPOOL_RECORDS, registry).set_function(self._count_waiting)
        self._recover()

    def start(self) -> None:
        """Begin to ship."""
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Ship what can be shipped within `timeout` seconds; the rest stays in the spool for the next process."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
        self._spool.close()

    def append(self, records: Sequence[Record]) -> bool:
        """Keep the records; False when they had to be dropped (and were counted)."""
        lines = [encode_record(record) for record in records]
        position = self._spool.append(b"\n".join(lines) + b"\n")
        if position is None:
            self._drop(len(records))
            return False
        self._appended += len(records)
        offset, waiting = position.offset, self._waiting[position.segment]
        for record, line in zip(records, lines, strict=True):
            waiting[record.id] = offset
            offset += len(line) + 1
        return True

    def _drop(self, count: int) -> None:
        self._dropped.inc(count)
        if time.monotonic() >= self._silent_until:
            self._silent_until = time.monotonic() + DROPS_TOLD_SECONDS
            log.error("predictions are not logged: the spool is full or cannot be written", extra={"dropped": count})

    def find_waiting(self, prediction_id: str) -> Record | None:
        """Find a record that is still in the spool."""
        for segment, waiting in list(self._waiting.items()):
            offset = waiting.get(prediction_id)
            line = None if offset is None else self._spool.read_line(segment, offset)
            if line is not None:
                return decode_record(line)
        return None

    def find(self, prediction_id: str) -> Record | None:
        """Find a record in the spool or the database; raises DatabaseDown when only the latter could tell."""
        waiting = self.find_waiting(prediction_id)
        return waiting or self._database.find(prediction_id)

    def _recover(self) -> None:
        for segment in self._spool.segments():
            offset = 0
            while chunk := self._spool.read(segment, offset, SHIP_BYTES):
                for line in _lines(chunk):
                    record = _decode(line)
                    if record is not None:
                        self._waiting[segment][record.id] = offset
                    offset += len(line) + 1

    def _ship_for_ever(self) -> None:
        failures = 0
        while True:
            begun, appended = time.perf_counter(), self._appended
            try:
                more = self._ship_once()
                failures = 0
            except Exception as error:  # noqa: BLE001 - nothing may end this thread
                # Whatever is wrong with the database, the spool keeps the records and this thread goes on.
                failures += 1
                self._failures.inc()
                if failures in {1, 10} or failures % 100 == 0:
                    log.warning("the prediction log cannot be shipped", extra={"reason": str(error), "tries": failures})
                more = False
            if self._stopping.is_set() and (failures or not more):
                return
            if more:
                busy = self._appended != appended
                self._stopping.wait(rest_seconds(time.perf_counter() - begun, self._count_waiting(), busy=busy))
            else:
                self._stopping.wait(RETRY_SECONDS[min(failures, len(RETRY_SECONDS)) - 1] if failures else SHIP_SECONDS)

    def _ship_once(self) -> bool:
        """Ship one batch of the oldest segment that has one; whether there may be more."""
        for segment in self._spool.segments():
            sealed = self._spool.is_sealed(segment)
            offset = self._offsets.get(segment, 0)
            chunk = self._spool.read(segment, offset, SHIP_BYTES)
            if chunk:
                parsed = [(line, _decode(line)) for line in _lines(chunk)]
                records = [record for _, record in parsed if record is not None]
                self._database.insert(records)
                self._set_aside([line for line, record in parsed if record is None])
                self._offsets[segment] = offset + len(chunk)
                self._shipped.inc(len(records))
                waiting = self._waiting[segment]
                for record in records:
                    waiting.pop(record.id, None)
                return True
            if sealed:
                self._spool.drop(segment)
                self._offsets.pop(segment, None)
                # With it go records that were shipped in the moment between their write and their entry.
                self._waiting.pop(segment, None)
        return False

    def _count_waiting(self) -> int:
        return sum(len(waiting) for waiting in list(self._waiting.values()))

    def _set_aside(self, lines: list[bytes]) -> None:
        if lines:
            with self._quarantine.open("ab") as file:
                file.write(b"\n".join(lines) + b"\n")
            self._quarantined.inc(len(lines))


def rest_seconds(took: float, waiting: int, *, busy: bool) -> float:
    """How long to rest after a batch that `took` so many seconds; `busy` is whether requests came meanwhile."""
    return took * RESTS if busy and waiting < PATIENT_RECORDS else 0.0


def _lines(chunk: bytes) -> list[bytes]:
    return chunk.split(b"\n")[:-1]


def _decode(line: bytes) -> Record | None:
    try:
        return decode_record(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
