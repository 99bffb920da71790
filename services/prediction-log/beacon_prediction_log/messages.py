"""Records as messages of Kafka, one per prediction: a key, by which Kafka keeps the order, and JSON."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import NamedTuple

from beacon_core.domain.ids import EPOCH
from beacon_core.domain.log_message import FORMAT, LogMessage, encode_message
from beacon_core.spool.block import Values
from beacon_core.spool.record import Record, made_at

MICROSECOND = timedelta(microseconds=1)


class TopicMessage(NamedTuple):
    """What the topic gets of a prediction."""

    key: bytes
    """The entity's, so that its predictions are in one partition and in their order; without one, the id."""
    value: bytes


def messages_of(record: Record, product: str) -> Iterator[TopicMessage]:
    """Make the messages of a record of a product, one for each of its predictions."""
    names, entities, shadow, digests = record.names, record.entities, record.shadow, record.input_digests
    time = (made_at(record) - EPOCH) // MICROSECOND
    for row, values in enumerate(record.values()):
        numbers, texts, flags, imputed = _by_kind(names, values)
        entity = None if entities is None else entities[row]
        message = LogMessage(
            format=FORMAT,
            product=product,
            id=record.ids[row],
            time=time,
            prediction=record.prediction[row],
            low=record.low[row],
            high=record.high[row],
            model_version=record.version,
            model_sha256=record.sha256,
            latency_seconds=record.latency,
            request_id=record.request_id,
            trace_id=record.trace_id,
            entity=entity,
            client=record.client,
            input_digest=None if digests is None else digests[row],
            shadow_version=record.shadow_version,
            shadow_prediction=None if shadow is None else shadow[row],
            numbers=numbers,
            texts=texts,
            flags=flags,
            from_store=None if record.from_store is None else _named(names, record.from_store.get(row)),
            imputed=imputed,
            out_of_range=_named(names, record.out_of_range.get(row)),
        )
        yield TopicMessage((message.id if entity is None else entity).encode(), encode_message(message))


def _by_kind(
    names: tuple[str, ...], values: Values
) -> tuple[dict[str, float], dict[str, str], dict[str, bool], list[str]]:
    """The features by the kind of their value, and those that have none."""
    numbers: dict[str, float] = {}
    texts: dict[str, str] = {}
    flags: dict[str, bool] = {}
    absent: list[str] = []
    for name, value in zip(names, values, strict=True):
        if isinstance(value, float):
            numbers[name] = value
        elif value is None:
            absent.append(name)
        elif isinstance(value, bool):
            flags[name] = value
        elif isinstance(value, str):
            texts[name] = value
        else:
            numbers[name] = value
    return numbers, texts, flags, absent


def _named(names: tuple[str, ...], columns: Sequence[int] | None) -> list[str]:
    return [names[column] for column in columns] if columns else []
