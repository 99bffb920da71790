"""The prediction log on a folder, in this process: inference's half, which appends, and that of the log's process."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry
from support.logged import logged_ids

from beacon_core.spool.record import Record
from beacon_inference.prediction_log.log import PredictionLog
from beacon_prediction_log.answers import Answers
from beacon_prediction_log.database import Database
from beacon_prediction_log.shipper import ShipCounters, Shipper, watch_spool
from beacon_prediction_log.stores import SqlStore
from beacon_prediction_log.tail import SpoolTail

STOP_SECONDS = 10.0


class WholeLog:
    """As one inference has it, and one process of the log; a later one on the same folder is the next of both."""

    def __init__(self, home: Path, names: tuple[str, ...], max_bytes: int = 1 << 20) -> None:
        self.registry = CollectorRegistry()
        self.folder = home / "spool"
        self.writer = PredictionLog(self.folder, max_bytes, self.registry)
        self.database_file = home / "beacon.db"
        self.database = Database(f"sqlite:///{self.database_file}", names)
        self.tail = SpoolTail(self.folder)
        self.counters = ShipCounters(self.registry)
        self.store = SqlStore(self.database)
        watch_spool(self.tail, [self.store], self.counters, self.registry)
        self.shipper = Shipper(self.folder, self.tail, self.store, self.counters)
        self.answers = Answers(self.tail, self.database)
        self.stopped = False

    def append(self, record: Record) -> bool:
        """What inference does."""
        return asyncio.run(self.writer.append(record)) == "true"

    def start(self) -> None:
        """Ship from now on."""
        self.shipper.start()

    def find_waiting(self, ids: Sequence[str]) -> dict[str, Record]:
        """What is in the spool and not yet in the database."""
        return self.tail.find(ids)

    def find(self, ids: Sequence[str]) -> dict[str, Record]:
        """What the log's process answers."""
        return self.answers.find(list(ids))

    def value(self, name: str) -> float | None:
        """A metric of either half."""
        return self.registry.get_sample_value(f"beacon_prediction_log_{name}")

    def waiting(self) -> float | None:
        """How many predictions are not in the database."""
        return self.value("spool_records")

    def stop(self) -> None:
        """End both, inference first; what is shipped at all is shipped to the end."""
        self.stopped = True
        self.writer.close()
        self.shipper.stop(STOP_SECONDS)
        self.database.close()

    def rows(self) -> list[str]:
        """Ids in the database."""
        return logged_ids(self.database_file)
