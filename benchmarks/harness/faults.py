"""A server under load whose worker is killed, and one that is told to end: what its clients see of that."""

import contextlib
import http.client
import os
import signal
import threading
import time
from collections.abc import Generator

import msgspec

from harness.asking import START_SECONDS, check, prediction_bodies
from harness.machine import BenchError
from harness.model import Model
from harness.processes import ended, largest_child
from harness.servers import Server

CLIENTS = 8
END_SECONDS = 30.0


class Faults(msgspec.Struct, frozen=True):
    """Requests that were sent and got no good answer, and how long it took."""

    failed_by_kill: int
    seconds_until_answered: float
    failed_by_end: int
    seconds_to_end: float


def faults(server: Server, model: Model, pid: int, port: int) -> Faults:
    """Kill the worker (SIGKILL) and then end the server (SIGTERM), each under the load of `CLIENTS` clients."""
    with _clients(server, model, port) as clients:
        time.sleep(1)
        os.kill(largest_child(pid), signal.SIGKILL)
        until_answered = _until_answered(server, model, port)
        time.sleep(1)
    by_kill = sum(client.failed for client in clients)
    with _clients(server, model, port) as clients:
        time.sleep(1)
        began = time.monotonic()
        os.kill(pid, signal.SIGTERM)
        while not ended(pid) and time.monotonic() < began + END_SECONDS:
            time.sleep(0.02)
        seconds = time.monotonic() - began
    return Faults(by_kill, until_answered, sum(client.failed for client in clients), seconds)


class _Client(threading.Thread):
    """Asks without a pause on one connection, a new one where that was closed; counts requests without a good answer.

    A connection that is refused is no request: there is nobody to answer it.
    """

    def __init__(self, port: int, path: str, body: bytes) -> None:
        super().__init__()
        self._port, self._path, self._body = port, path, body
        self.failed = 0
        self.stop = threading.Event()

    def run(self) -> None:
        while not self.stop.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
            with contextlib.closing(connection):
                try:
                    connection.connect()
                except OSError:
                    time.sleep(0.02)
                    continue
                while not self.stop.is_set() and self._asked(connection):
                    pass

    def _asked(self, connection: http.client.HTTPConnection) -> bool:
        """Whether the connection can be used again."""
        try:
            connection.request("POST", self._path, self._body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self.failed += 1
            return False
        self.failed += answer.status != 200
        return answer.getheader("connection") != "close"


@contextlib.contextmanager
def _clients(server: Server, model: Model, port: int) -> Generator[list[_Client]]:
    body = prediction_bodies(server, model, 1).read_bytes().splitlines()[0]
    clients = [_Client(port, server.one.path, body) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        yield clients
    finally:
        for client in clients:
            client.stop.set()
        for client in clients:
            client.join()


def _until_answered(server: Server, model: Model, port: int) -> float:
    """Seconds from now to the first right answer."""
    began = time.monotonic()
    while time.monotonic() < began + START_SECONDS:
        with contextlib.suppress(OSError, http.client.HTTPException, BenchError):
            check(port, server.one, model, 1)
            break
        time.sleep(0.01)
    return time.monotonic() - began
