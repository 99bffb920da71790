"""Clients that predict without pause and keep what they were told, for as long as a fault lasts."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
from support.waiting import until

PREDICT = "/v1/predict"


class Load(threading.Thread):
    """One client: ids that were acknowledged as logged, seconds of each answer, answers that were no 200.

    It rests for so many seconds after each answer.
    """

    def __init__(self, address: str, row: dict[str, float], rest: float = 0.0) -> None:
        super().__init__()
        self.address, self.row, self.rest = address, row, rest
        self.acknowledged: list[str] = []
        self.seconds: list[float] = []
        self.unlogged = self.failed = self.broken = 0
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.is_set():
            try:
                with httpx.Client(base_url=self.address, timeout=20) as client:
                    while not self.done.is_set():
                        self._ask(client)
                        self.done.wait(self.rest)
            except httpx.TransportError:
                self.broken += 1
            time.sleep(0.02)

    def _ask(self, client: httpx.Client) -> None:
        started = time.perf_counter()
        answer = client.post(PREDICT, json={"features": self.row})
        self.seconds.append(time.perf_counter() - started)
        if answer.status_code != 200:
            self.failed += 1
        elif answer.headers["beacon-logged"] == "true":
            self.acknowledged.append(answer.json()["prediction_id"])
        else:
            self.unlogged += 1

    def end(self) -> None:
        """Stop and wait for the last answer."""
        self.done.set()
        self.join(30)

    @property
    def p99(self) -> float:
        """Of the seconds."""
        return sorted(self.seconds)[int(len(self.seconds) * 0.99)]


class Loads(list[Load]):
    """Several clients as one."""

    def end(self) -> None:
        for load in self:
            load.end()

    def wait_for(self, answers: int) -> None:
        """Until each client has had so many answers more."""
        goals = [(load, len(load.seconds) + answers) for load in self]
        until(lambda: all(len(load.seconds) >= goal for load, goal in goals), f"{answers} answers more")

    def total(self, name: str) -> int:
        """Sum of a count over the clients."""
        return sum(getattr(load, name) for load in self)

    @property
    def acknowledged(self) -> list[str]:
        return [name for load in self for name in load.acknowledged]


def start_loads(address: str, row: dict[str, Any], count: int = 2, rest: float = 0.0) -> Loads:
    """Start clients."""
    loads = Loads(Load(address, row, rest) for _ in range(count))
    for load in loads:
        load.start()
    return loads


@contextlib.contextmanager
def under_load(address: str, row: dict[str, Any], count: int = 2, rest: float = 0.0) -> Iterator[Loads]:
    """Clients at work while the block runs; they have ended when it is left."""
    loads = start_loads(address, row, count, rest)
    try:
        yield loads
    finally:
        loads.end()
