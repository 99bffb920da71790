"""What the consumer says of itself: how much came into the lake, how far it is behind, and whether it is alive."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from prometheus_client import GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR, CollectorRegistry
from pyspark.sql.streaming import StreamingQueryListener
from pyspark.sql.streaming.listener import (
    QueryIdleEvent,
    QueryProgressEvent,
    QueryStartedEvent,
    QueryTerminatedEvent,
)

from beacon_core.observability import metrics
from beacon_core.observability.volumes import watch_volumes
from beacon_core.platform import clock
from beacon_core.platform.settings import Settings

SERVICE = "kafka-to-lake"
STILL_SECONDS = 60.0
"""A program that has not looked at its query for so long hangs: it looks twice a second."""


class ConsumerFigures(StreamingQueryListener):  # type: ignore[misc] # pyspark is not where types are checked
    """The metrics of one query, which Spark tells of each block and of each look that found none.

    Spark calls it by a thread of its own. A look that fails ends the query, so that it tells nothing.
    """

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

    def onQueryStarted(self, event: QueryStartedEvent) -> None:  # noqa: N802 - Spark's name
        """Nothing is known yet."""

    def onQueryProgress(self, event: QueryProgressEvent) -> None:  # noqa: N802
        """A block is done: what of the topic is left for the next one."""
        self._tell(sum(lag_of(source.latestOffset, source.endOffset) for source in event.progress.sources))

    def onQueryIdle(self, event: QueryIdleEvent) -> None:  # noqa: ARG002, N802
        """Spark has looked, and the topic has nothing that is new."""
        self._tell(0)

    def onQueryTerminated(self, event: QueryTerminatedEvent) -> None:  # noqa: N802
        """The program ends with the query."""

    def _tell(self, lag: int) -> None:
        self._lag.set(lag)
        if not lag:
            self._current_at.set(clock.now().timestamp())


def lag_of(latest: str | None, end: str | None) -> int:
    """The messages between two offsets of the topic, as Spark writes them: {"topic": {"0": 7}}."""
    return sum(_offsets(latest).values()) - sum(_offsets(end).values()) if latest and end else 0


def _offsets(written: str | None) -> Mapping[Any, int]:
    topics = msgspec.json.decode(written or "{}", type=dict[str, dict[str, int]])
    return {(topic, partition): offset for topic, parts in topics.items() for partition, offset in parts.items()}
