"""The prediction log's process, assembled from its parts."""

import contextlib
import logging
from collections.abc import Iterator

from prometheus_client import GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR, CollectorRegistry

from beacon_core.observability import metrics
from beacon_core.observability.volumes import watch_volumes
from beacon_core.platform.locks import exclusive
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import Settings
from beacon_core.spool.segments import SHIPPER_LOCK
from beacon_prediction_log.answers import Answers
from beacon_prediction_log.database import Database
from beacon_prediction_log.orphans import Orphans
from beacon_prediction_log.server import AnswerServer
from beacon_prediction_log.shipper import ShipCounters, Shipper
from beacon_prediction_log.tail import SpoolTail

log = logging.getLogger(__name__)

SHIP_REST_SECONDS = 7.0
"""How long the end may take: a laptop gives 8 s, and a pod what its other containers leave of its grace."""


class LogProcess:
    """The shipper of one spool, and the answers to inference's questions about it."""

    def __init__(self, settings: Settings) -> None:
        self.registry = CollectorRegistry()
        for collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
            self.registry.register(collector)
        folder = settings.spool_dir
        watch_volumes({"spool": folder}, self.registry)
        build = metrics.gauge(metrics.BUILD_INFO, self.registry)
        build.labels("prediction-log", settings.build_version, settings.build_revision).set(1)
        metrics.gauge(metrics.SPOOL_MAX_BYTES, self.registry).set(settings.spool_max_bytes)
        self.database = Database(settings.database, load_product(settings.product).feature_names)
        self.tail = SpoolTail(folder)
        counters = ShipCounters(self.registry)
        self.shipper = Shipper(folder, self.tail, self.database, self.registry, counters)
        shared = settings.shared_spools
        self.orphans = None if shared is None else Orphans(shared, folder, self.database, counters)
        self.answers = Answers(self.tail, self.database)
        self.server = AnswerServer(folder, self.answers)

    def start(self) -> None:
        """Ship and answer; a database that is down keeps nothing from starting."""
        self.server.start()
        self.shipper.start()
        if self.orphans is not None:
            self.orphans.start()

    @property
    def is_alive(self) -> bool:
        """Whether all of its threads run."""
        return self.shipper.is_alive and self.server.is_alive

    def stop(self, seconds: float = SHIP_REST_SECONDS) -> None:
        """Ship what comes until inference has ended, for so long."""
        if self.orphans is not None:
            self.orphans.stop()
        self.shipper.stop(seconds)
        self.server.stop()
        self.database.close()


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
