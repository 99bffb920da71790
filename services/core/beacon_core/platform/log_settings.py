"""What the settings of the prediction log's stores have to say together, and the file of a Kafka client's own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from beacon_core.domain.kafka import read_client_settings
from beacon_core.domain.log_stores import ReadStore, StoreName, store_that_is_read


class LogSettings(Protocol):
    """Those of the settings that name stores of the log, and their places."""

    @property
    def log_stores(self) -> tuple[StoreName, ...]: ...
    @property
    def log_read(self) -> ReadStore | None: ...
    @property
    def lake(self) -> str: ...
    @property
    def kafka_brokers(self) -> tuple[str, ...]: ...
    @property
    def kafka_topic(self) -> str: ...


def check_log(settings: LogSettings) -> None:
    """Raise ValueError, which begins with the setting's name, where stores do not fit or have no place."""
    try:
        read = store_that_is_read(settings.log_stores, settings.log_read)
    except ValueError as error:
        raise ValueError(f"LOG_STORES: {error}") from error
    if "lake" in {read, *settings.log_stores} and not settings.lake:
        name = "LOG_STORES" if "lake" in settings.log_stores else "LOG_READ"
        raise ValueError(f"{name} names the lake, and BEACON_LAKE does not say where that is")


def check_kafka(settings: LogSettings, why: str) -> None:
    """Raise ValueError, which begins with the setting's name and says why, where brokers or topic are not named.

    Only who writes to the topic or reads it needs them: others have the same `log_stores`.
    """
    for name, value in (("BROKERS", settings.kafka_brokers), ("TOPIC", settings.kafka_topic)):
        if not value:
            raise ValueError(f"KAFKA_{name} is not set, and {why}")


def client_settings(file: Path | None, own: Sequence[str]) -> dict[str, str]:
    """The settings in BEACON_KAFKA_FILE; `own` are those that Beacon sets itself. Raises ValueError, without values."""
    if file is None:
        return {}
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        told = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ValueError(f"KAFKA_FILE: {file} cannot be read: {told}") from None
    try:
        return read_client_settings(lines, own)
    except ValueError as error:
        raise ValueError(f"KAFKA_FILE: {file}: {error}") from None
