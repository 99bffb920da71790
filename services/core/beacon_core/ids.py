"""Identifiers: 32 hex digits that sort by the time they were made, so that database indexes stay compact."""

import re
import time
from random import getrandbits

# What a client may choose as a request id, prediction id or idempotency key.
CLIENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")

STEM_DIGITS = 28


def new_id() -> str:
    """48 bits of milliseconds, then 80 random bits: unique, but no secret (the generator is seeded once a process)."""
    return f"{time.time_ns() // 1_000_000:012x}{getrandbits(80):020x}"


def new_ids(count: int) -> list[str]:
    """Make the ids of one request's rows: they share a stem, and sort in the rows' order."""
    stem = f"{time.time_ns() // 1_000_000:012x}{getrandbits(64):016x}"
    return [f"{stem}{row:04x}" for row in range(count)]


def stem_of(made: str) -> str:
    """What an id of `new_ids` shares with those of its request."""
    return made[:STEM_DIGITS]


def is_client_id(text: str) -> bool:
    """Whether a client may use `text` as an id: 1 to 64 letters, digits and `._:-`, a letter or digit first."""
    return CLIENT_ID.fullmatch(text) is not None
