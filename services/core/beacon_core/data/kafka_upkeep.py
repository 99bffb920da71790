"""Erasure from the log's topic of Kafka: there is none, and an erasure says so."""

from beacon_core.data.database import Engine
from beacon_core.data.erasure import ErasedPlace, Subject
from beacon_core.domain.product import Product
from beacon_core.platform.settings import Settings

PLACE = "kafka"


def erase(settings: Settings, _product: Product, _engine: Engine, _subject: Subject, *, dry_run: bool) -> ErasedPlace:
    """Erase nothing: Kafka deletes no single message. What is said is the same with `dry_run`."""
    del dry_run
    if PLACE not in settings.log_stores:
        return ErasedPlace()
    named = f"the topic {settings.kafka_topic}" if settings.kafka_topic else "the topic"
    told = f"messages in {named} stay until its retention ends: Kafka deletes no single one"
    return ErasedPlace(remains={PLACE: [told]})
