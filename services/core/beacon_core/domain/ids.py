"""Identifiers: 32 hex digits that sort by creation time, so that database indexes stay compact."""

import re
import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from random import getrandbits

# What a client may choose as a request id, prediction id or idempotency key.
CLIENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")

# The digits of an id that are its time.
TIME_DIGITS = 12
OWN_ID = re.compile(r"0[0-9a-f]{31}")
"""Until the year 2527 the time begins with a zero."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def new_id() -> str:
    """48 bits of milliseconds, then 80 random bits: unique, but no secret (one seed per process)."""
    return _digits(getrandbits(80), 80)


def new_ids(count: int) -> list[str]:
    """Make the ids of one request's rows: they share a stem, and sort in the rows' order."""
    stem = _digits(getrandbits(64), 64)
    return [stem + end for end in _ends(count)]


@lru_cache(maxsize=64)
def _ends(count: int) -> list[str]:
    return [f"{row:04x}" for row in range(count)]


def _digits(random: int, bits: int) -> str:
    return (time.time_ns() // 1_000_000 << bits | random).to_bytes(6 + bits // 8, "big").hex()


def time_of(text: str) -> datetime | None:
    """When `new_id` made an id; None for an id of a client's own."""
    if OWN_ID.fullmatch(text) is None:
        return None
    return EPOCH + timedelta(milliseconds=milliseconds_of(text[:TIME_DIGITS]))


def milliseconds_of(digits: str) -> int:
    """Milliseconds since 1970, from those digits of an id that are its time."""
    return int(digits, 16)


def is_client_id(text: str) -> bool:
    """Whether a client may use `text` as an id: 1 to 64 letters, digits and `._:-`, a letter or digit first."""
    return CLIENT_ID.fullmatch(text) is not None
