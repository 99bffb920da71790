"""Load shedding: whether more requests wait than the event loop can answer in good time.

The loop takes all that has arrived in one round, one after the other, and goes on with what an earlier round left. A
round that lasts is a queue: who comes late in it has waited that long, and whoever arrives meanwhile will wait as long
again.
"""

import asyncio
import math
import time
from collections.abc import Awaitable

from beacon_core.domain.errors import BeaconError
from beacon_core.web.http import Handler, Request, Response
from beacon_core.web.middlewares.chain import Middleware

# A round's end is seen by a timer, this often.
TICK_SECONDS = 0.02
# With fewer requests a round is no queue, however long it lasts.
ROUND_REQUESTS = 100


class Overload:
    """Times the rounds of the running event loop.

    After `round_seconds`, and so many requests, the others of a round are shed (503 with Retry-After). Twice this, and
    a tick, is what the last one taken has waited.
    """

    def __init__(self, round_seconds: float) -> None:
        self._round_seconds = round_seconds
        self._begun = math.inf
        self._requests = 0

    def start(self) -> None:
        """Begin to look for the ends of rounds, on the running loop."""
        self.begin_round(time.perf_counter())
        asyncio.get_running_loop().call_later(TICK_SECONDS, self.start)

    def begin_round(self, now: float) -> None:
        """Note that everything from `now` on (seconds, as `time.perf_counter` has them) is another round."""
        self._begun, self._requests = now, 0

    def should_shed(self, now: float) -> bool:
        """Whether a request that is taken `now` has to be shed."""
        self._requests += 1
        # A loop that merely stood still, for want of CPU, has few waiting and answers them all.
        return self._requests > ROUND_REQUESTS and now - self._begun > self._round_seconds


def shed_load(overload: Overload) -> Middleware:
    """Turn a request away with 503 and Retry-After where it would wait too long."""

    def middleware(handler: Handler) -> Handler:
        def handle(request: Request) -> Awaitable[Response]:
            if overload.should_shed(request.started):
                raise BeaconError("overloaded", "more requests wait than can be answered in time; try again")
            return handler(request)

        return handle

    return middleware
