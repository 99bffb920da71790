"""What a task does: messages of the topic become files of the lake, which the driver commits.

Executors run this; no module here imports pyspark.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

import msgspec
import pyarrow as pa

from beacon_core.data.prediction_log import lake
from beacon_core.domain.log_message import FORMAT, LogMessage, decode_message
from beacon_core.domain.masking import message_of
from beacon_core.platform import clock

COLUMNS = ("value", "partition", "offset")
"""What a task needs of a message."""
OUTCOME = pa.schema(
    [
        ("files", pa.binary()),
        ("rows", pa.int64()),
        ("repeated", pa.int64()),
        ("skipped", pa.int64()),
        ("unreadable", pa.string()),
        ("away", pa.string()),
    ]
)
"""What a task tells the driver: its part; or that a message is none of ours, or that the lake does not answer."""
OUTCOME_OF_SPARK = "files binary, rows bigint, repeated bigint, skipped bigint, unreadable string, away string"

Batches = Iterable[pa.RecordBatch]


class TopicTask(NamedTuple):
    """What each task is told."""

    place: lake.LakePlace
    product: str
    skips: bool
    """Whether messages that are none of ours are left out, instead of ending it."""


def writing(task: TopicTask) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    """The function that Spark runs for each part of a block."""

    def write(batches: Batches) -> Iterator[pa.RecordBatch]:
        given = [batch for batch in batches if batch.num_rows]
        if given:
            outcome = dict.fromkeys(OUTCOME.names) | _outcome(task, given)
            yield pa.RecordBatch.from_pylist([outcome], schema=OUTCOME)

    return write


def _outcome(task: TopicTask, batches: list[pa.RecordBatch]) -> dict[str, object]:
    messages, unreadable = read_messages(batches, task.product)
    if unreadable and not task.skips:
        return {"unreadable": unreadable[0]}
    if not messages:
        return {"rows": 0, "repeated": 0, "skipped": len(unreadable)}
    try:
        part = lake.prepare(_opened(task.place), lake.table_of_messages(messages, clock.now()))
    except lake.LakeUnavailableError as error:
        return {"away": message_of(error)}
    return {"files": part.files, "rows": part.rows, "repeated": part.repeated, "skipped": len(unreadable)}


def read_messages(batches: list[pa.RecordBatch], product: str) -> tuple[list[LogMessage], list[str]]:
    """The predictions of a product, and what is to be said of the messages that are none."""
    messages: list[LogMessage] = []
    unreadable: list[str] = []
    for batch in batches:
        for value, partition, offset in zip(*(batch.column(name).to_pylist() for name in COLUMNS), strict=True):
            try:
                messages.append(read_message(value, product))
            except ValueError as error:
                unreadable.append(f"partition {partition}, offset {offset}: {error}")
    return messages, unreadable


def read_message(value: bytes | None, product: str) -> LogMessage:
    """A message of a product; raises ValueError with the rule, and quotes nothing of it."""
    try:
        message = decode_message(value or b"")
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"it is no logged prediction: {error}") from None
    if message.format != FORMAT:
        raise ValueError(f"it has format {message.format}, and this revision reads {FORMAT}")
    if message.product != product:
        raise ValueError(f"it is of the product {message.product[:64]!r}, not of {product!r}")
    return message


@lru_cache(maxsize=1)
def _opened(place: lake.LakePlace) -> lake.Lake:
    """A process of Spark's has many tasks, one after another."""
    return lake.open_lake(place)
