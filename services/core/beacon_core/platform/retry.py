"""Try again until what something needs is up."""

import time
from collections.abc import Callable
from typing import TypeVar

PAUSE_SECONDS = 1.0
T = TypeVar("T")


def until_up(action: Callable[[], T], seconds: float, down: tuple[type[Exception], ...]) -> T:
    """What the action returns. After an error in `down` it is tried again, for `seconds`; then the error is raised."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return action()
        except down:
            if time.monotonic() >= deadline:
                raise
            time.sleep(PAUSE_SECONDS)
