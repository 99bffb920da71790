"""What Kafka calls things: its brokers, topics and client settings, and the rules for them. Nothing here needs Kafka.

Each function raises `ValueError` with the rule, and quotes no value of a client's settings: it may be a password.
"""

import re
from collections.abc import Sequence

from beacon_core.domain import addresses

TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
BROKER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")
MOST_PORT = 65535


def read_brokers(text: str) -> tuple[str, ...]:
    """HOST:PORT of some brokers, separated by commas: the first that answers names the others."""
    addresses.check_text(text)
    given = [part.strip() for part in text.split(",")]
    for name in given:
        found = BROKER.fullmatch(name)
        if found is None or not 0 < int(found[2]) <= MOST_PORT:
            raise ValueError(f"{name[:64]!r} is not HOST:PORT of a broker")
    return tuple(given)


def read_topic(text: str) -> str:
    """The name of a topic, as Kafka allows it."""
    if not TOPIC.fullmatch(text) or text in {".", ".."}:
        raise ValueError("a topic has 1 to 249 letters, digits, '.', '_' and '-'")
    return text


def read_client_settings(lines: Sequence[str], own: Sequence[str]) -> dict[str, str]:
    """A client's settings, of lines NAME=VALUE; `own` are the names that Beacon sets itself.

    Empty lines, and those that begin with #, are left out.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, sign, value = (part.strip() for part in line.partition("="))
        if not sign or not name or " " in name:
            raise ValueError(f"line {number} is not NAME=VALUE")
        if name in own:
            raise ValueError(f"line {number} sets {name}, which Beacon sets itself")
        if name in found:
            raise ValueError(f"line {number} sets {name} again")
        found[name] = value
    return found
