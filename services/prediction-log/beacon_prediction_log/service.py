"""The prediction log's process, assembled from its parts."""

import contextlib
import logging
import time
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR, CollectorRegistry

from beacon_core.data.prediction_log.reading import LakeSource
from beacon_core.domain.log_stores import StoreName
from beacon_core.observability import metrics
from beacon_core.observability.volumes import watch_volumes
from beacon_core.platform.locks import exclusive
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import Settings
from beacon_core.spool.segments import SHIPPER_LOCK
from beacon_prediction_log.answers import Answers
from beacon_prediction_log.database import Database
from beacon_prediction_log.kafka import KafkaStore
from beacon_prediction_log.orphans import Orphans
from beacon_prediction_log.server import AnswerServer
from beacon_prediction_log.shipper import ShipCounters, Shipper, watch_spool
from beacon_prediction_log.stores import LakeStore, LogSink, SqlStore
from beacon_prediction_log.tail import SpoolTail

log = logging.getLogger(__name__)

SHIP_REST_SECONDS = 7.0
"""How long the end may take: a laptop gives 8 s, and a pod what its other containers leave of its grace."""


class LogProcess:
    """The shippers of one spool, one for each store, and the answers to inference's questions about it."""

    def __init__(self, settings: Settings) -> None:
        self.registry = CollectorRegistry()
        for collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
            self.registry.register(collector)
        folder = settings.spool_dir
        in_folder = {} if not settings.lake or "://" in settings.lake else {"lake": Path(settings.lake)}
        watch_volumes({"spool": folder, **in_folder}, self.registry)
        build = metrics.gauge(metrics.BUILD_INFO, self.registry)
        build.labels("prediction-log", settings.build_version, settings.build_revision).set(1)
        metrics.gauge(metrics.SPOOL_MAX_BYTES, self.registry).set(settings.spool_max_bytes)
        needs_lake = settings.reads_lake or "lake" in settings.log_stores
        self.lake = LakeSource(settings.lake, settings.lake_catalog) if needs_lake else None
        product = load_product(settings.product)
        self.database = Database(settings.database, product.feature_names, self.lake if settings.reads_lake else None)
        self.kafka = KafkaStore(settings, product.name, self.database) if "kafka" in settings.log_stores else None
        stores = [self._store(name) for name in settings.log_stores]
        self.tail = SpoolTail(folder, settings.log_stores, read=settings.read_store)
        counters = ShipCounters(self.registry)
        watch_spool(self.tail, stores, counters, self.registry)
        self.shippers = [Shipper(folder, self.tail, store, counters) for store in stores]
        shared = settings.shared_spools
        self.orphans = None if shared is None else Orphans(shared, folder, stores, counters)
        self.answers = Answers(self.tail, self.database)
        self.server = AnswerServer(folder, self.answers)

    def start(self) -> None:
        """Ship and answer; a database that is down keeps nothing from starting."""
        self.server.start()
        for shipper in self.shippers:
            shipper.start()
        if self.orphans is not None:
            self.orphans.start()

    @property
    def is_alive(self) -> bool:
        """Whether all of its threads run."""
        return self.server.is_alive and all(shipper.is_alive for shipper in self.shippers)

    def stop(self, seconds: float = SHIP_REST_SECONDS) -> None:
        """Ship what comes until inference has ended, for so long."""
        if self.orphans is not None:
            self.orphans.stop()
        end = time.monotonic() + seconds
        for shipper in self.shippers:
            shipper.begin_stop()
        for shipper in self.shippers:
            shipper.stop(max(0.0, end - time.monotonic()))
        self.server.stop()
        self.database.close()
        if self.kafka is not None:
            self.kafka.close()
        if self.lake is not None:
            self.lake.close()

    def _store(self, name: StoreName) -> LogSink:
        if name == "sql":
            return SqlStore(self.database)
        if name == "kafka":
            assert self.kafka is not None  # noqa: S101 - see above
            return self.kafka
        assert self.lake is not None  # noqa: S101 - see above
        return LakeStore(self.lake, self.database, self.registry)


@contextlib.contextmanager
def running(settings: Settings) -> Iterator[LogProcess]:
    """The log's process at work on the spool of the settings; raises `BusyError` where another one is."""
    folder = settings.spool_dir
    with exclusive(folder / SHIPPER_LOCK, "another process ships this spool"):
        service = LogProcess(settings)
        service.start()
        try:
            yield service
        finally:
            service.stop()
