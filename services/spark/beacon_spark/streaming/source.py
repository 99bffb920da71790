"""The topic as a source of Spark, by Beacon's settings and the user's own file."""

from beacon_core.platform.log_settings import check_kafka, client_settings
from beacon_core.platform.settings import PREFIX, Settings, SettingsError

OWN = ("bootstrap.servers", "group.id", "auto.offset.reset", "key.deserializer", "value.deserializer")
"""What Beacon and Spark set themselves."""


def source_options(settings: Settings, most: int) -> dict[str, str]:
    """Options of Spark's source `kafka`; raises `SettingsError`. A block has at most so many messages.

    `BEACON_KAFKA_FILE` has names of Java's client here, where the log's process has those of librdkafka.
    """
    try:
        check_kafka(settings, "the log's topic is to be read")
        given = client_settings(settings.kafka_file, OWN)
    except ValueError as error:
        raise SettingsError(f"{PREFIX}{error}") from None
    return {
        "kafka.bootstrap.servers": ",".join(settings.kafka_brokers),
        "subscribe": settings.kafka_topic,
        # Of a query that is new: what came before it is in the lake already, or is to come into it.
        "startingOffsets": "earliest",
        # Messages that the topic's retention took before they were read: it ends with an error, not with a gap.
        "failOnDataLoss": "true",
        "maxOffsetsPerTrigger": str(most),
        **{f"kafka.{name}": value for name, value in given.items()},
    }
