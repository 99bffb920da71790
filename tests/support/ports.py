"""Ports for the servers of the tests."""

import contextlib
import random
import socket

# Below those that the kernel gives to connections (from 32768 on): what is free now is free when its server comes.
RANGE = range(10_000, 30_000)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, all distinct."""
    found: set[int] = set()
    while len(found) < count:
        port = random.SystemRandom().choice(RANGE)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.add(port)
    return list(found)


def free_port() -> int:
    """A port that nobody listens on."""
    return free_ports(1)[0]
