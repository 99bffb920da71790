"""Open loop: requests leave at a fixed rate whatever the server does, and latency counts from the time each was due.

A server that stalls is charged for every request that was due meanwhile, which a closed loop leaves out
(coordinated omission).
"""

import asyncio
import gc
import time
from collections import deque
from itertools import cycle
from typing import cast

import msgspec
import uvloop

CONNECTIONS = 64
GRACE_SECONDS = 2.0
HELD_LATE_SECONDS = 0.1
"""A server that needs longer than this after the last request was due has fallen behind."""


class Paced(msgspec.Struct, frozen=True):
    """One rate: latencies from the due time; `held` when the server kept up with it.

    `sender_late_p99_ms` is how late the generator itself was with requests that had a free connection: a share of the
    latencies that is not the server's.
    """

    rate: int
    p50_ms: float
    p99_ms: float
    answered: int
    failed: int
    held: bool
    sender_late_p99_ms: float


class _Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request under way."""

    def __init__(self, run: "_Run") -> None:
        self.run = run
        self.due = 0.0
        self.buffer = b""
        self.transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.WriteTransport", transport)  # uvloop's own class, no subclass of asyncio's

    def send(self, due: float, request: bytes) -> None:
        self.due = due
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if _complete(self.buffer):
            answer, self.buffer = self.buffer, b""
            self.run.answered(self, answer.startswith(b"HTTP/1.1 2"))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio names it)
        self.run.lost(self)


class _Run:
    """The requests due, the connections free, and the latencies so far."""

    def __init__(self, requests: list[bytes], port: int) -> None:
        self.requests = cycle(requests)
        self.port = port
        self.loop = asyncio.get_running_loop()
        self.free: list[_Connection] = []
        self.waiting: deque[float] = deque()
        self.busy: set[_Connection] = set()
        self.latencies: list[float] = []
        self.sent_late: list[float] = []
        self.failed = 0
        self.closing = False

    async def open(self, connections: int) -> None:
        for _ in range(connections):
            _, connection = await self.loop.create_connection(lambda: _Connection(self), "127.0.0.1", self.port)
            self.free.append(connection)

    def due(self, when: float) -> None:
        if self.free:
            connection = self.free.pop()
            self.busy.add(connection)
            connection.send(when, next(self.requests))
        else:
            self.waiting.append(when)

    def answered(self, connection: _Connection, good: bool) -> None:
        self.latencies.append(time.perf_counter() - connection.due)
        self.failed += not good
        self.busy.discard(connection)
        self.free.append(connection)
        if self.waiting:
            self.due(self.waiting.popleft())

    def lost(self, connection: _Connection) -> None:
        if not self.closing:
            self.failed += connection in self.busy
            self.busy.discard(connection)
            if connection in self.free:
                self.free.remove(connection)

    def close(self) -> int:
        """Give up on what is unanswered: each counts with the time it has waited. Returns how many."""
        self.closing = True
        now = time.perf_counter()
        given_up = [now - when for when in self.waiting] + [now - connection.due for connection in self.busy]
        self.latencies += given_up
        for connection in [*self.free, *self.busy]:
            connection.transport.close()
        return len(given_up)


def open_loop(port: int, path: str, bodies: list[bytes], rate: int, seconds: float) -> Paced:
    """Send `rate` requests a second for `seconds`, then wait a little for the last answers."""
    gc.collect()
    gc.disable()
    try:
        return uvloop.run(_paced(port, [http_request(path, body) for body in bodies], rate, seconds))
    finally:
        gc.enable()


async def _paced(port: int, requests: list[bytes], rate: int, seconds: float) -> Paced:
    run = _Run(requests, port)
    await run.open(CONNECTIONS)
    total = round(rate * seconds)
    start = time.perf_counter() + 0.05
    sent = 0
    while sent < total:
        now = time.perf_counter()
        while sent < total and start + sent / rate <= now:
            if run.free:
                run.sent_late.append(now - start - sent / rate)
            run.due(start + sent / rate)
            sent += 1
        # The event loop's clock and timers have a grain of a millisecond: neither is used for the pace.
        await asyncio.sleep(0)
    deadline = time.perf_counter() + GRACE_SECONDS
    while (run.busy or run.waiting) and time.perf_counter() < deadline:  # noqa: ASYNC110 (it waits for two things)
        await asyncio.sleep(0.001)
    late = time.perf_counter() - start - seconds
    given_up = run.close()
    await asyncio.sleep(0)
    latencies = sorted(run.latencies)
    return Paced(
        rate=rate,
        p50_ms=percentile(latencies, 0.5) * 1e3,
        p99_ms=percentile(latencies, 0.99) * 1e3,
        answered=len(latencies) - given_up,
        failed=run.failed + given_up,
        held=not run.failed and not given_up and late < HELD_LATE_SECONDS,
        sender_late_p99_ms=percentile(sorted(run.sent_late), 0.99) * 1e3,
    )


def percentile(ordered: list[float], share: float) -> float:
    """The smallest value that `share` of the ordered values do not exceed."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def http_request(path: str, body: bytes) -> bytes:
    """A POST of JSON as bytes."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def _complete(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    _, given, rest = head.lower().partition(b"content-length:")
    if given:
        return len(body) >= int(rest.split(b"\r\n", 1)[0])
    return body.endswith(b"0\r\n\r\n")
