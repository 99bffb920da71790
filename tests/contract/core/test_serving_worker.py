"""The event loop's door: a crowd that comes at once is held by the kernel, and let in together."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from beacon_core.web.worker import Loop

CROWD = 300
ROUND_SECONDS = 0.01


class Guest(asyncio.Protocol):
    """Says that it is in."""

    present = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        Guest.present += 1
        transport.write(b"in")  # type: ignore[attr-defined]

    def connection_lost(self, _: Exception | None) -> None:
        Guest.present -= 1


async def until_alone() -> None:
    async with asyncio.timeout(10):
        while Guest.present:  # noqa: ASYNC110 - many are waited for
            await asyncio.sleep(0.01)


@pytest.fixture
def loop() -> Iterator[Loop]:
    """A loop that runs when told, and at last until all who were let in have left."""
    loop = Loop()
    yield loop
    loop.run_until_complete(until_alone())
    loop.close()


def test_a_crowd_is_held_and_let_in_within_a_few_busy_rounds(loop: Loop) -> None:
    rounds = 0

    def work() -> None:
        nonlocal rounds
        rounds += 1
        time.sleep(ROUND_SECONDS)  # as answers to others would take
        again.append(loop.call_soon(work))

    async def let_in(guests: list[socket.socket]) -> None:
        assert await asyncio.gather(*(loop.sock_recv(guest, 2) for guest in guests)) == [b"in"] * CROWD

    again: list[asyncio.Handle] = []
    with contextlib.ExitStack() as stack, socket.create_server(("127.0.0.1", 0)) as listener:
        server = loop.run_until_complete(loop.create_server(Guest, sock=listener))
        # The loop stands still now: who is connected is connected by the kernel.
        guests = [
            stack.enter_context(socket.create_connection(listener.getsockname(), timeout=2)) for _ in range(CROWD)
        ]
        for guest in guests:
            guest.setblocking(False)
        work()
        loop.run_until_complete(asyncio.wait_for(let_in(guests), 30))
        again[-1].cancel()
        server.close()
        loop.run_until_complete(server.wait_closed())
    print(f"{CROWD} clients were in after {rounds} rounds")
    assert rounds < CROWD / 4
