"""Waiting for an answer for a limited time, fair to a process that gets no CPU.

A process that stood still finds the answer waiting when it wakes up, next to a timer that has run out.
So the time is counted in ticks of the event loop: a tick lets it look before it judges.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

# So many ticks make up the limit, however long it is: what the process stands still for counts as one of them.
TICKS = 8


@contextlib.asynccontextmanager
async def tick_timeout(seconds: float) -> AsyncIterator[None]:
    """Do what is in the block within `seconds` of the running loop's time; raises TimeoutError."""
    loop = asyncio.get_running_loop()
    tick_seconds = seconds / TICKS
    timer: asyncio.TimerHandle

    def tick(left: int) -> None:
        nonlocal timer
        if left:
            timer = loop.call_later(tick_seconds, tick, left - 1)
        else:
            limit.reschedule(loop.time())

    timer = loop.call_later(tick_seconds, tick, TICKS - 1)
    try:
        async with asyncio.timeout(None) as limit:
            yield
    except TimeoutError as error:
        raise TimeoutError(str(error) or f"no answer within {seconds * 1000:.0f} ms") from error
    finally:
        timer.cancel()
