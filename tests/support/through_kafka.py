"""Rows that go the way of the log by Kafka: the store of the log's process, a real topic, the consumer's tasks."""

import contextlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pyarrow as pa
from support.kafka import Broker
from support.settings import Settings

from beacon_core.data.prediction_log import LoggedPrediction, lake
from beacon_core.data.prediction_log.lake import Lake
from beacon_core.data.predictions import PredictionRow
from beacon_core.domain.ids import new_id
from beacon_core.spool.record import Record, encode_record
from beacon_prediction_log.database import Database
from beacon_prediction_log.kafka import KafkaStore
from beacon_prediction_log.rows import record_of
from beacon_prediction_log.tail import Chunk
from beacon_spark.streaming.part import read_messages

PRODUCT = "cars"


class ThroughTopic:
    """A topic of its own, and how far it was read."""

    def __init__(self, kafka: Broker, home: Path) -> None:
        self._kafka = kafka
        self._topic = kafka.create_topic(f"log-{new_id()}")
        self._database = Database(f"sqlite:///{home / 'beacon.db'}", ())
        settings = Settings(home=home, kafka_brokers=(kafka.address,), kafka_topic=self._topic)
        self._store = KafkaStore(settings, PRODUCT, self._database)
        self._home = home

    def bring(self, rows: Sequence[PredictionRow], to: Lake) -> None:
        """Send the rows, and bring all that the topic has into the lake: what it has already comes again."""
        lines = b"".join(encode_record(_record(row)) + b"\n" for row in rows)
        self._store.insert(self._home, Chunk([], lines), lambda: None)
        sent = self._kafka.messages(self._topic)
        names = ("value", "partition", "offset")
        columns = [pa.array([getattr(message, name) for message in sent]) for name in names]
        messages, unreadable = read_messages([pa.RecordBatch.from_arrays(columns, names)], PRODUCT)
        assert not unreadable
        seen = lake.snapshot_of(to)
        part = lake.prepare(to, lake.table_of_messages(messages, datetime.now(UTC)))
        lake.commit_parts(to, [part], seen)

    def close(self) -> None:
        """Let go of broker and database."""
        self._store.close()
        self._database.close()


def _record(row: PredictionRow) -> Record:
    """The record that a row came from, as the log's process reads it out of the table."""
    given = row._asdict() | {"time": datetime.fromisoformat(row.time).replace(tzinfo=UTC)}
    for name in ("features", "from_store", "imputed", "out_of_range"):
        given[name] = None if given[name] is None else msgspec.json.decode(given[name])
    return record_of(LoggedPrediction(**{name: given[name] for name in LoggedPrediction._fields}), ())


@contextlib.contextmanager
def through_topic(kafka: Broker, home: Path) -> Iterator[ThroughTopic]:
    """One that is closed afterwards."""
    found = ThroughTopic(kafka, home)
    try:
        yield found
    finally:
        found.close()
