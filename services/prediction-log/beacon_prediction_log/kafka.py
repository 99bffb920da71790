"""A topic of Kafka as a store of the log: every prediction a message, and done only when the brokers acknowledged all.

The producer is idempotent and asks for the acknowledgement of every replica in sync (`acks=all`), so what its own
retries send again is in the topic once. A chunk that was not acknowledged whole is given again, by this process or the
next one; what of it was in the topic already is there twice then, with the same id, by which the consumer knows it.
"""

import logging
import re
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from beacon_core.domain.log_stores import StoreName
from beacon_core.domain.masking import MASK
from beacon_core.platform.log_settings import check_kafka, client_settings
from beacon_core.platform.settings import PREFIX, Settings, SettingsError
from beacon_prediction_log.messages import messages_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from confluent_kafka import KafkaError, Message, Producer

    from beacon_prediction_log.database import Database
    from beacon_prediction_log.tail import Chunk

log = logging.getLogger(__name__)
# The client's own lines come many times a minute while a broker is away; at the level DEBUG they are logged.
client_log = log.getChild("client")

# A wait for acknowledgements after each chunk: large enough that the wait is a small part of it.
KAFKA_BYTES = 1 << 20
ACKNOWLEDGE_SECONDS = 10.0
"""So long a chunk may take; then it is given again, and the line says what the client told meanwhile."""
STEP_MESSAGES = 500
"""After so many inference may have the core."""
LOOK_SECONDS = 5.0
CLOSE_SECONDS = 0.2
OWN: dict[str, object] = {
    "acks": "all",
    "enable.idempotence": True,
    # Beacon itself gives up and says so; a single message that timed out would let later ones of its key pass it.
    "message.timeout.ms": 0,
    "delivery.report.only.error": True,
    # A topic that is not there is told at once, and not after half a minute.
    "topic.metadata.propagation.max.ms": 1000,
    # As many as a chunk has; the chunk's size is the bound.
    "queue.buffering.max.messages": 0,
    "queue.buffering.max.kbytes": 2_097_151,
}
"""Settings that the promise stands on: BEACON_KAFKA_FILE may not have them."""
DEFAULTS: dict[str, object] = {
    "client.id": "beacon-prediction-log",
    "compression.type": "zstd",
    "linger.ms": 20,
    "batch.size": 1_000_000,
    # As Java's clients, so that a key has the same partition whoever writes it.
    "partitioner": "murmur2_random",
}
CALLBACKS = ("error_cb", "on_delivery", "logger", "stats_cb", "throttle_cb", "oauth_cb")
NAMED_BY_OTHERS = ("bootstrap.servers", "request.required.acks", "delivery.timeout.ms", "transactional.id")
"""What BEACON_KAFKA_BROKERS says, other names of what is in `OWN`, and what needs another producer."""


class KafkaUnavailableError(Exception):
    """The brokers did not acknowledge a chunk; it is to be given again."""


class KafkaStore:
    """The topic. Threads may share it. Nothing is sent before `insert`; making it checks the client's settings."""

    name: StoreName = "kafka"
    chunk_bytes = KAFKA_BYTES
    gather_seconds = 0.0

    def __init__(self, settings: Settings, product: str, database: "Database") -> None:
        self._product = product
        self._brokers, self._topic = settings.kafka_brokers, settings.kafka_topic
        self._database = database
        self._lock = threading.Lock()
        self._told = ""
        self._refused = ""
        self._given = _given(settings)
        if not log.isEnabledFor(logging.DEBUG):
            client_log.setLevel(logging.CRITICAL)
        self._producer: Producer | None = self._new_producer()

    def warm(self) -> None:
        """Open the database, where the actuals are, and look whether the topic is there; it may not answer yet."""
        self._database.warm()
        with self._lock:
            self._look_at_topic(self._open())

    def insert(self, _folder: Path, chunk: "Chunk", rest: "Callable[[], None]") -> None:
        """Send a chunk, and wait until all of it is acknowledged; raises `KafkaUnavailableError`."""
        with self._lock:
            producer = self._open()
            self._told = self._refused = ""
            try:
                self._send(producer, chunk, rest)
                self._wait(producer)
            except BaseException:
                self._drop_producer()
                raise

    def close(self) -> None:
        """Let go of the connections."""
        if self._lock.acquire(timeout=CLOSE_SECONDS):  # who waits for acknowledgements goes with the process
            self._drop_producer()
            self._lock.release()

    def _send(self, producer: "Producer", chunk: "Chunk", rest: "Callable[[], None]") -> None:
        from confluent_kafka import KafkaException  # noqa: PLC0415 - see _new_producer

        step = 0
        rest()
        for record in chunk.records:
            for message in messages_of(record, self._product):
                try:
                    producer.produce(self._topic, message.value, message.key)
                except KafkaException as error:  # where the client knows already that there is no such topic
                    raise self._refusal(error.args[0].str()) from None
            step += len(record)
            if step >= STEP_MESSAGES:
                rest()
                step = 0

    def _wait(self, producer: "Producer") -> None:
        end = time.monotonic() + ACKNOWLEDGE_SECONDS
        while left := producer.flush(0.25):
            if self._refused or time.monotonic() > end:
                break
        if self._refused:
            raise self._refusal(self._refused)
        if left:
            why = self._told or "no broker of BEACON_KAFKA_BROKERS says why"
            raise KafkaUnavailableError(f"Kafka does not acknowledge {left} predictions: {why}")

    def _refusal(self, reason: str) -> KafkaUnavailableError:
        return KafkaUnavailableError(f"Kafka refuses predictions for the topic {self._topic}: {reason}")

    def _open(self) -> "Producer":
        """The producer; another one where the last was dropped. Who calls it has the lock."""
        if self._producer is None:
            self._producer = self._new_producer()
        return self._producer

    def _look_at_topic(self, producer: "Producer") -> None:
        from confluent_kafka import KafkaException  # noqa: PLC0415 - see _new_producer

        try:
            found = producer.list_topics(self._topic, LOOK_SECONDS).topics[self._topic]
        except KafkaException:
            return  # what is sent tells the same
        if found.error is not None:
            log.error("the topic cannot be used", extra={"topic": self._topic, "reason": found.error.str()})
        elif any(len(partition.replicas) < 2 for partition in found.partitions.values()):
            log.warning("the topic has one replica: what it acknowledged dies with a broker's disk")

    def _new_producer(self) -> "Producer":
        # Imported only where the setting asks for it: 12 MB.
        from confluent_kafka import KafkaException, Producer  # noqa: PLC0415

        places = {"bootstrap.servers": ",".join(self._brokers)}
        calls = {"error_cb": self._on_error, "on_delivery": self._on_delivery}
        try:
            return Producer(DEFAULTS | self._given | OWN | places | calls, logger=client_log)
        except KafkaException as error:
            told = _without_values(error.args[0].str(), self._given)
            raise SettingsError(f"{PREFIX}KAFKA_FILE: the Kafka client refuses its settings: {told}") from None

    def _drop_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()
            producer.flush(0)

    def _on_error(self, error: "KafkaError") -> None:
        self._told = error.str()

    def _on_delivery(self, error: "KafkaError | None", _message: "Message") -> None:
        if error is not None:
            self._refused = error.str()


def _given(settings: Settings) -> dict[str, str]:
    try:
        check_kafka(settings, f"{PREFIX}LOG_STORES names kafka")
        return client_settings(settings.kafka_file, (*OWN, *NAMED_BY_OTHERS, *CALLBACKS))
    except ValueError as error:
        raise SettingsError(f"{PREFIX}{error}") from None


def _without_values(told: str, given: dict[str, str]) -> str:
    """What the client says of its settings, without a value of BEACON_KAFKA_FILE: it may be a password."""
    for value in filter(None, given.values()):
        told = re.sub(rf"(?<![\w.]){re.escape(value)}(?![\w.])", MASK, told)
    return told.strip()
