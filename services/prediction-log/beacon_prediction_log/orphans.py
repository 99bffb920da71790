"""Orphaned spools: those of pods that are gone, on a volume that all pods share.

Each pod has a folder there. Who dies before its spool is shipped, or is drained while the database is away, leaves it
behind; the log's process of any other pod ships it once nobody works on it, and removes the folder.
"""

import logging
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from beacon_core.domain.masking import message_of
from beacon_core.platform.locks import BusyError, exclusive
from beacon_core.spool.segments import QUARANTINE, SHIPPER_LOCK, WRITER_LOCK, no_writer, segments
from beacon_prediction_log.shipper import ShipCounters, ship_once
from beacon_prediction_log.stores import LogSink
from beacon_prediction_log.tail import SpoolTail

log = logging.getLogger(__name__)

LOOK_SECONDS = 15.0
QUIET_SECONDS = 60.0
"""So long nothing was written: a container that restarts is back by then."""


class Orphans:
    """A thread that looks for the orphans in `shared` and ships them; `own` is the spool of this pod."""

    def __init__(self, shared: Path, own: Path, stores: Sequence[LogSink], counters: ShipCounters) -> None:
        self._shared = shared
        self._own = own
        self._stores = stores
        self._counters = counters
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._look_for_ever, name="orphans", daemon=True)

    def start(self) -> None:
        """Look from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; what is half shipped is shipped by another."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(1.0)

    def adopt_all(self) -> None:
        """Ship each orphan that is there."""
        for folder in self._quiet():
            try:
                self._adopt(folder)
            except BusyError:
                continue
            except Exception as error:  # noqa: BLE001 - the next look may have better luck
                log.warning("an orphaned spool cannot be shipped", extra={"reason": message_of(error)})

    def _look_for_ever(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            self.adopt_all()

    def _quiet(self) -> Iterator[Path]:
        """The other spools to which nothing was written for a while."""
        for folder in sorted(self._shared.iterdir()):
            if folder != self._own and (folder / WRITER_LOCK).is_file():
                written = max(path.stat().st_mtime for path in (folder, *folder.glob("*.jsonl")) if path.exists())
                if time.time() - written > QUIET_SECONDS:
                    yield folder

    def _adopt(self, folder: Path) -> None:
        with exclusive(folder / SHIPPER_LOCK, "it is shipped"), no_writer(folder) as is_orphan:
            if not is_orphan:
                return
            tail = SpoolTail(folder, [store.name for store in self._stores])
            count = tail.count_waiting()
            for store in self._stores:
                while not self._stopping.is_set() and self._ship_once(folder, tail, store):
                    pass
            if self._stopping.is_set():
                return
            tail.drop_last()
            if not segments(folder) and not (folder / QUARANTINE).exists():
                shutil.rmtree(folder)
            log.info("shipped an orphaned spool", extra={"folder": str(folder), "predictions": count})

    def _ship_once(self, folder: Path, tail: SpoolTail, store: LogSink) -> bool:
        try:
            return ship_once(folder, tail, store, self._counters)
        except Exception:
            self._counters.failed(store.name)
            raise
