"""Waiting for what must come, however slow or busy the machine is: only what never comes misses the deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

FoundT = TypeVar("FoundT")
DEADLINE_SECONDS = 60.0


def until(condition: Callable[[], FoundT], what: str, seconds: float = DEADLINE_SECONDS) -> FoundT:
    """Wait; what the condition found at last."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)
    return found
