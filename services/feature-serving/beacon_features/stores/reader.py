"""What a reader of an online store is, the one way in which it fails, and how its patience is measured."""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from beacon_core.errors import BeaconError
from beacon_features.catalog import ViewPlan
from beacon_features.lookup import Row

# Patience is counted in ticks of the event loop. A process that gets no CPU for a while finds the answer waiting when
# it wakes up, next to a timer that says it is too late; a tick lets it look before it judges.
TICK_SECONDS = 0.02
# To connect and then to hear nothing come to 180 ms together: the client's answer, a 503, is due within 200 ms.
CONNECT_TICKS = 3
SILENT_TICKS = 6

ResultT = TypeVar("ResultT")


class Reader(Protocol):
    """Reads rows of one online store."""

    async def read(self, plan: ViewPlan, keys: Sequence[bytes]) -> list[Row | None]:
        """One row an encoded entity key, None where the store has none; raises `unavailable` within the time limit."""
        ...

    async def check(self) -> None:
        """Raise `unavailable` within the time limit if the store does not answer."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


def unavailable(reason: str) -> BeaconError:
    """The online store does not answer; the client may try again."""
    return BeaconError("feature_store_unavailable", f"the online store does not answer: {reason}")


async def patiently(work: asyncio.Future[ResultT], ticks: int) -> ResultT:
    """Wait for `work`, which goes on, for so many ticks; raises TimeoutError."""
    for _ in range(ticks):
        done: set[asyncio.Future[Any]]
        done, _pending = await asyncio.wait({work}, timeout=TICK_SECONDS)
        if done:
            return work.result()
    raise TimeoutError(f"no answer within {ticks * TICK_SECONDS * 1000:.0f} ms")
