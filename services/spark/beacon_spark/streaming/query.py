"""The query: block after block of the topic into the lake, each message once.

Spark's checkpoint says which messages are next. It may say the same twice (a kill between the commit and the note of
it), and the topic may have a prediction twice (a chunk of the log's process that was shipped again). Both are told by
the ids: a block is looked up in the lake before it is committed. So nothing hangs on the checkpoint but time.
"""

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import col, get_json_object
from pyspark.sql.streaming import StreamingQueryListener
from pyspark.sql.streaming.listener import QueryIdleEvent, QueryProgressEvent, QueryStartedEvent, QueryTerminatedEvent

from beacon_core.data.prediction_log import lake
from beacon_core.domain.exit_statuses import REFUSED, TRY_AGAIN
from beacon_core.domain.masking import message_of
from beacon_core.platform.job import log
from beacon_core.platform.settings import Settings
from beacon_spark.streaming.figures import ConsumerFigures, lag_of
from beacon_spark.streaming.part import COLUMNS, OUTCOME_OF_SPARK, TopicTask, writing
from beacon_spark.streaming.source import source_options

LOOK_SECONDS = 0.5


class TopicUnavailableError(Exception):
    """The topic cannot be read now, or messages of it are gone before they were read."""

    exit_status = TRY_AGAIN


class UnreadableMessageError(Exception):
    """The topic has a message that is no logged prediction of this product; it stays where it is."""

    exit_status = REFUSED


class BlockPace(NamedTuple):
    """How blocks are made."""

    most: int
    """Messages of a block, at most."""
    every: float | None
    """Seconds from one block to the next; None: all that is there now, and then the end."""


class _Listener(StreamingQueryListener):  # type: ignore[misc] # pyspark is not where types are checked
    """What Spark tells of the query, by a thread of its own, becomes figures. A look that fails ends the query."""

    def __init__(self, figures: ConsumerFigures) -> None:
        self._figures = figures

    def onQueryStarted(self, event: QueryStartedEvent) -> None:  # noqa: N802 - Spark's name
        """Nothing is known yet."""

    def onQueryProgress(self, event: QueryProgressEvent) -> None:  # noqa: N802
        """A block is done: what of the topic is left for the next one."""
        self._figures.left(sum(lag_of(source.latestOffset, source.endOffset) for source in event.progress.sources))

    def onQueryIdle(self, event: QueryIdleEvent) -> None:  # noqa: ARG002, N802
        """The topic has nothing that is new."""
        self._figures.left(0)

    def onQueryTerminated(self, event: QueryTerminatedEvent) -> None:  # noqa: N802
        """The program ends with the query."""


class TopicToLake:
    """One query. Blocks are committed by this process, one after another."""

    def __init__(self, settings: Settings, product: str, figures: ConsumerFigures, *, skips: bool) -> None:
        self._settings = settings
        self._figures = figures
        self._task = TopicTask(lake.LakePlace(settings.lake, settings.lake_catalog), product, skips)
        self._lake = lake.open_lake(self._task.place)
        self._error: Exception | None = None

    def run(self, session: SparkSession, checkpoint: str, pace: BlockPace, stopping: threading.Event) -> None:
        """Run until it is stopped, or all is read; raises the errors of this module, and `LakeUnavailableError`."""
        options = source_options(self._settings, pace.most)
        try:
            session.streams.addListener(_Listener(self._figures))
            given = session.readStream.format("kafka").options(**options).load().select(*COLUMNS)
            to_lake = given.writeStream.foreachBatch(self._append).option("checkpointLocation", checkpoint)
            query = to_lake.trigger(**_trigger(pace)).queryName("topic-to-lake").start()
            while not stopping.is_set() and not query.awaitTermination(LOOK_SECONDS):
                self._figures.beat()
            query.stop()
        except (PySparkException, Py4JError) as error:
            if self._error is not None:
                raise self._error from None
            raise TopicUnavailableError(f"the topic {self._settings.kafka_topic}: {_cause_of(error)}") from error
        finally:
            self._lake.close()

    def _append(self, block: DataFrame, number: int) -> None:
        try:
            self._append_once(block, number)
        except Exception as error:
            self._error = error  # Spark knows its text alone
            raise

    def _append_once(self, block: DataFrame, number: int) -> None:
        # Messages of one id come to one task, wherever in the topic they are.
        by_id = get_json_object(col("value").cast("string"), "$.id")
        parted = block.repartition(block.sparkSession.sparkContext.defaultParallelism, by_id)
        for attempt in range(lake.TRIES):
            seen = lake.snapshot_of(self._lake)
            told = parted.mapInArrow(writing(self._task), OUTCOME_OF_SPARK).collect()
            _check(told, self._settings.kafka_topic)
            parts = [lake.PreparedPart(bytes(one.files), one.rows, one.repeated) for one in told if one.files]
            try:
                lake.commit_parts(self._lake, parts, seen)
            except lake.CommitConflict:
                lake.wait(attempt)
                continue
            counts = {name: sum(one[name] or 0 for one in told) for name in ("rows", "repeated", "skipped")}
            self._figures.committed(**counts)
            log.info("a block of the topic is in the lake", extra={"block": number} | counts)
            return
        raise lake.LakeUnavailableError("others commit to the lake all the time: the block is read again")


def _check(told: Iterable[object], topic: str) -> None:
    """Raise what a task has told, before anything is committed."""
    for one in told:
        if unreadable := getattr(one, "unreadable", None):
            raise UnreadableMessageError(f"the topic {topic}, {unreadable}")
        if away := getattr(one, "away", None):
            raise lake.LakeUnavailableError(away)


def _trigger(pace: BlockPace) -> dict[str, Any]:
    if pace.every is None:
        return {"availableNow": True}
    return {"processingTime": f"{round(pace.every * 1000)} milliseconds"}


def _cause_of(error: Exception) -> str:
    """The line that says why, of Java's many."""
    lines = [line.strip() for line in str(error).splitlines()]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    return (causes[-1] if causes else message_of(error))[:500]


def checkpoint_of(settings: Settings, given: str) -> str:
    """Where the query notes how far it is: as given, a folder or what Spark's file systems know; else in the home."""
    if given:
        return given
    folder: Path = settings.home / "kafka-checkpoints" / settings.kafka_topic
    return str(folder)
