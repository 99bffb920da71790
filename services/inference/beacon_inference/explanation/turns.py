"""Turns: one at a time, and few who wait."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from beacon_core.domain.errors import BeaconError

MOST_WAITING = 16
"""Requests that have their turn or wait for it; more are shed."""


class Turns:
    """Lets one request after another have its turn."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._waiting = 0

    @contextlib.asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Wait for a turn, and have it; raises BeaconError `overloaded` where too many wait."""
        if self._waiting >= MOST_WAITING:
            raise BeaconError("overloaded", "more explanations wait than can be given in time; try again")
        self._waiting += 1
        try:
            async with self._lock:
                yield
        finally:
            self._waiting -= 1
