"""The prediction log: append to the spool, ship to the database in the background, find by id.

    append -> spool -> ship -> database

A full or broken spool never fails a prediction: lost records are counted in beacon_prediction_log_dropped_total, which
has an alert.
"""

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry

from beacon_core.domain.masking import message_of
from beacon_core.observability import metrics
from beacon_inference.prediction_log.database import Database
from beacon_inference.prediction_log.index import SpoolIndex
from beacon_inference.prediction_log.record import Record, decode_record, decode_records, encode_record
from beacon_inference.prediction_log.spool import Position, Spool

log = logging.getLogger(__name__)

SHIP_SECONDS = 0.25
# Small, as SQLite has one writer at a time; not smaller, as each commit rewrites the last page of every index.
SHIP_BYTES = 128 << 10
RETRY_SECONDS = (0.5, 1, 2, 5)
# While requests arrive, the shipper works in small steps and rests after each, as it shares a core with them. It rests
# REST_FACTOR times as long as the step took, less the larger the backlog is, and not at all above BACKLOG_WITHOUT_REST:
# a pod that terminates has only seconds to ship the rest.
REST_FACTOR = 19
BACKLOG_WITHOUT_REST = 50_000
# Every drop is counted, but logged only this often.
DROPS_LOG_SECONDS = 60


class PredictionLog:
    """Every acknowledged prediction, from its answer until it is in the database."""

    def __init__(self, folder: Path, max_bytes: int, database: Database, registry: CollectorRegistry) -> None:
        self._database = database
        self._quarantine = folder / "quarantine.txt"
        self._spool = Spool(folder, max_bytes)
        self._index = SpoolIndex()
        # Segment -> number of its bytes that are in the database.
        self._offsets: dict[int, int] = {}
        # Two counts of predictions, each written by one thread alone; their difference is the backlog.
        self._appended = 0
        self._taken = 0
        # The shipper's CPU time and `_appended` at its last rest.
        self._rested, self._seen = 0.0, 0
        self._newest_read: tuple[Position, Record] | None = None
        self._silent_until = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._ship_for_ever, name="shipper", daemon=True)
        self._dropped = metrics.counter(metrics.LOG_DROPPED, registry)
        self._shipped = metrics.counter(metrics.LOG_SHIPPED, registry)
        self._quarantined = metrics.counter(metrics.LOG_QUARANTINED, registry)
        self._failures = metrics.counter(metrics.LOG_SHIP_FAILURES, registry)
        metrics.gauge(metrics.SPOOL_RECORDS, registry).set_function(self._count_waiting)
        metrics.gauge(metrics.SPOOL_BYTES, registry).set_function(self._spool.size)
        metrics.gauge(metrics.SPOOL_MAX_BYTES, registry).set(max_bytes)
        self._recover()

    def start(self) -> None:
        """Start the shipper's thread."""
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Ship what can be shipped within `timeout` seconds; the rest stays in the spool for the next process."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
        self._spool.close()

    def append(self, record: Record) -> bool:
        """Keep the record; False when it had to be dropped (and was counted)."""
        position = self._spool.append(encode_record(record) + b"\n")
        if position is None:
            self._drop(len(record))
            return False
        self._note(record, position)
        return True

    def _note(self, record: Record, position: Position) -> None:
        self._appended += len(record)
        self._index.note(record, position)

    def _drop(self, count: int) -> None:
        self._dropped.inc(count)
        if time.monotonic() >= self._silent_until:
            self._silent_until = time.monotonic() + DROPS_LOG_SECONDS
            log.error("predictions are not logged: the spool is full or cannot be written", extra={"dropped": count})

    def find_waiting(self, ids: Sequence[str]) -> dict[str, Record]:
        """Find those of the predictions that are still in the spool, each as a record of its own."""
        found = {}
        for name in ids:
            record = self._find_one(name)
            if record is not None:
                found[name] = record.take([record.ids.index(name)])
        return found

    def find(self, ids: Sequence[str]) -> dict[str, Record]:
        """Find predictions in the spool or the database.

        Raises DatabaseUnavailableError when some are not in the spool and the database does not answer.
        """
        found = self.find_waiting(ids)
        others = [name for name in ids if name not in found]
        return (found | self._database.find(others)) if others else found

    def _find_one(self, name: str) -> Record | None:
        if self._newest_read is not None:  # a client that reads one row of a record often reads the others
            position, record = self._newest_read
            if self._waits(position) and name in record.ids:
                return record
        wanted = f'"{name}"'.encode()
        for segment, begin, size in self._index.ranges(name):
            ends = begin
            for line in _lines(self._spool.read(segment, begin, size)):
                position, ends = Position(segment, ends), ends + len(line) + 1
                found = self._decode(line) if wanted in line and self._waits(position) else None
                if found is not None and name in found.ids:
                    self._newest_read = position, found
                    return found
        return None

    def _waits(self, position: Position) -> bool:
        return position.offset >= self._offsets.get(position.segment, 0)

    def _decode(self, line: bytes) -> Record | None:
        try:
            return decode_record(line)
        except (ValueError, RecursionError):
            return None

    def _decode_all(self, chunk: bytes) -> tuple[list[Record], list[bytes]]:
        """Read whole lines; the second list has the lines that are not records."""
        try:
            return decode_records(chunk), []
        except (ValueError, RecursionError):
            parsed = [(line, self._decode(line)) for line in _lines(chunk)]
            return [record for _, record in parsed if record is not None], [line for line, r in parsed if r is None]

    def _recover(self) -> None:
        unreadable = 0
        for segment in self._spool.segments():
            offset = 0
            while chunk := self._spool.read(segment, offset, SHIP_BYTES):
                for line in _lines(chunk):
                    record = self._decode(line)
                    if record is not None:
                        self._note(record, Position(segment, offset))
                    else:
                        unreadable += 1
                    offset += len(line) + 1
        if unreadable:
            log.error(
                "the spool has lines that are not records of this revision: they are kept in quarantine.txt, and not "
                "shipped; the revision that wrote them can read them",
                extra={"lines": unreadable, "file": str(self._quarantine)},
            )

    def _ship_for_ever(self) -> None:
        failures = 0
        while True:
            try:
                more = self._ship_once()
                failures = 0
            except Exception as error:  # noqa: BLE001 - nothing may end this thread
                # While the database fails, the spool keeps the records and this thread retries.
                failures += 1
                self._failures.inc()
                if failures in {1, 10} or failures % 100 == 0:
                    log.warning(
                        "the prediction log cannot be shipped", extra={"reason": message_of(error), "tries": failures}
                    )
                more = False
            if self._stopping.is_set() and (failures or not more):
                return
            if not more:
                self._stopping.wait(RETRY_SECONDS[min(failures, len(RETRY_SECONDS)) - 1] if failures else SHIP_SECONDS)

    def _ship_once(self) -> bool:
        """Ship one batch of the oldest segment that has one; True if there may be more."""
        for segment in self._spool.segments():
            sealed = self._spool.is_sealed(segment)
            offset = self._offsets.get(segment, 0)
            chunk = self._spool.read(segment, offset, SHIP_BYTES)
            if chunk:
                records, unreadable = self._decode_all(chunk)
                self._database.insert(records, self._rest)
                self._quarantine_lines(unreadable)
                self._offsets[segment] = offset + len(chunk)
                count = sum(map(len, records))
                self._taken += count
                self._shipped.inc(count)
                return True
            if sealed:
                self._spool.drop(segment)
                self._offsets.pop(segment, None)
                self._index.forget(segment)
        return False

    def _rest(self) -> None:
        """Leave the core to the event loop, if requests arrived since the last rest."""
        took, appended = time.thread_time() - self._rested, self._appended
        self._stopping.wait(rest_seconds(took, self._count_waiting(), busy=appended != self._seen))
        self._rested, self._seen = time.thread_time(), appended

    def _count_waiting(self) -> int:
        return max(0, self._appended - self._taken)  # a record may be shipped between its write and its count

    def _quarantine_lines(self, lines: list[bytes]) -> None:
        if lines:
            with self._quarantine.open("ab") as file:
                file.write(b"\n".join(lines) + b"\n")
            self._quarantined.inc(len(lines))


def rest_seconds(took: float, waiting: int, *, busy: bool) -> float:
    """How long to rest after work that `took` so many seconds; `busy` is whether requests arrived meanwhile."""
    return took * REST_FACTOR * max(0.0, 1 - waiting / BACKLOG_WITHOUT_REST) if busy else 0.0


def _lines(chunk: bytes) -> list[bytes]:
    return chunk.split(b"\n")[:-1]
