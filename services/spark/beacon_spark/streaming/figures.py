"""What the consumer says of itself: how much came into the lake, how far it is behind, and whether it is alive."""

import time
from collections.abc import Callable

import msgspec
from prometheus_client import GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR, CollectorRegistry

from beacon_core.observability import metrics
from beacon_core.observability.volumes import watch_volumes
from beacon_core.platform import clock
from beacon_core.platform.settings import Settings

SERVICE = "kafka-to-lake"
STILL_SECONDS = 60.0
"""A program that has not looked at its query for so long hangs: it looks twice a second."""


class ConsumerFigures:
    """The metrics of one query, and what the kubelet is told."""

    def __init__(self, settings: Settings) -> None:
        self.registry = CollectorRegistry()
        for collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
            self.registry.register(collector)
        build = metrics.gauge(metrics.BUILD_INFO, self.registry)
        build.labels(SERVICE, settings.build_version, settings.build_revision).set(1)
        watch_volumes({"home": settings.home}, self.registry)
        self._rows = metrics.counter(metrics.TOPIC_ROWS, self.registry)
        self._repeated = metrics.counter(metrics.TOPIC_REPEATED, self.registry)
        self._skipped = metrics.counter(metrics.TOPIC_SKIPPED, self.registry)
        self._lag = metrics.gauge(metrics.TOPIC_LAG, self.registry)
        self._committed_at = metrics.gauge(metrics.TOPIC_COMMITTED, self.registry)
        self._current_at = metrics.gauge(metrics.TOPIC_CURRENT, self.registry)
        self._beat_at = time.monotonic()
        self._is_reading = False

    @property
    def checks(self) -> dict[str, Callable[[], bool]]:
        """What the metrics port answers to the kubelet."""
        return {"/livez": lambda: self.is_alive, "/readyz": lambda: self.is_alive and self._is_reading}

    @property
    def is_alive(self) -> bool:
        """Whether the program still looks at its query, or at what comes before it."""
        return not self._is_reading or time.monotonic() - self._beat_at < STILL_SECONDS

    def beat(self) -> None:
        """The program has looked at its query, which is at work."""
        self._beat_at = time.monotonic()
        self._is_reading = True

    def committed(self, rows: int, repeated: int, skipped: int) -> None:
        """A block is in the lake."""
        for counter, count in ((self._rows, rows), (self._repeated, repeated), (self._skipped, skipped)):
            counter.inc(count)
        self._committed_at.set(clock.now().timestamp())

    def left(self, lag: int) -> None:
        """Spark has looked at the topic, and brought all but so many messages into the lake."""
        self._lag.set(lag)
        if not lag:
            self._current_at.set(clock.now().timestamp())


def lag_of(latest: str | None, end: str | None) -> int:
    """The messages between two places of the topic, as Spark writes them: {"TOPIC": {"PARTITION": OFFSET}}."""
    return _messages(latest) - _messages(end) if latest and end else 0


def _messages(written: str) -> int:
    topics = msgspec.json.decode(written, type=dict[str, dict[str, int]])
    return sum(offset for partitions in topics.values() for offset in partitions.values())
