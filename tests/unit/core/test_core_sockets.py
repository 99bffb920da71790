"""The promise of the test suite itself: a unit test that reaches for the network fails."""

import asyncio
import socket

import pytest
from pytest_socket import SocketBlockedError

BLOCKED = (SocketBlockedError, UserWarning)  # pytest-socket warns first, and here warnings are errors


def test_a_unit_test_has_no_network():
    with pytest.raises(BLOCKED, match="A test tried to use"):
        socket.create_connection(("127.0.0.1", 9), timeout=1)


def test_an_event_loop_can_run():
    assert asyncio.run(asyncio.sleep(0, "ran")) == "ran"
