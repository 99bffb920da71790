"""The promise of the test suite itself: a contract test reaches loopback and nothing else."""

import socket

import pytest
from pytest_socket import SocketConnectBlockedError

BLOCKED = (SocketConnectBlockedError, UserWarning)  # pytest-socket warns first, and here warnings are errors


def test_a_contract_test_reaches_loopback_only():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=1).close()
    with socket.socket() as client, pytest.raises(BLOCKED, match="A test tried to use"):
        client.connect(("192.0.2.1", 9))
