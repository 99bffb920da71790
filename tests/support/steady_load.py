"""A steady load from two kinds of client, whose every answer is kept: what fails, and what was acknowledged."""

import asyncio
import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import aiohttp

TIMEOUT_SECONDS = 10.0


class Door(NamedTuple):
    """One way in: `fresh` asks over a new connection each time, else over connections that are kept.

    `host` is the name that the ingress knows, where the URL has an address; `headers` are further ones.
    """

    name: str
    url: str
    body: dict[str, Any]
    fresh: bool
    host: str = ""
    headers: Mapping[str, str] = {}


class Answer(NamedTuple):
    """When a request was sent and how it ended; `status` 0: no answer at all, and `told` says why."""

    door: str
    sent: float
    seconds: float
    status: int
    told: str
    prediction_id: str | None = None
    version: str | None = None
    logged: bool = False


def both(name: str, url: str, body: dict[str, Any], headers: Mapping[str, str]) -> list[Door]:
    """The two kinds of client at one door."""
    kinds = {"new": True, "kept": False}
    return [Door(f"{name}, {kind} connections", url, body, fresh, headers=headers) for kind, fresh in kinds.items()]


class Load(threading.Thread):
    """Requests at a fixed rate over all doors in turn, whether or not those before were answered (an open loop).

    Nothing is tried again.
    """

    def __init__(self, doors: list[Door], rate: float) -> None:
        super().__init__(daemon=True)
        self._doors = doors
        self._pause = 1 / rate
        self._stopped = threading.Event()
        self.under_way = 0
        self.answers: list[Answer] = []

    def run(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        async with contextlib.AsyncExitStack() as stack:
            sessions = {}
            for fresh in (True, False):
                connector = aiohttp.TCPConnector(force_close=fresh, limit=64)
                sessions[fresh] = await stack.enter_async_context(
                    aiohttp.ClientSession(connector=connector, timeout=timeout)
                )
            due, tasks = time.monotonic(), set()
            while not self._stopped.is_set():
                for door in self._doors:
                    if self._stopped.is_set():
                        break
                    task = asyncio.create_task(self._ask(sessions[door.fresh], door))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                    due += self._pause
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
            await asyncio.gather(*tasks)

    async def _ask(self, session: aiohttp.ClientSession, door: Door) -> None:
        sent = time.monotonic()
        self.under_way += 1
        try:
            headers = {**door.headers, **({"Host": door.host} if door.host else {})}
            async with session.post(door.url, json=door.body, headers=headers) as response:
                answer = await _answer(door, sent, response)
        except Exception as error:  # noqa: BLE001 - whatever it is, this request failed
            answer = Answer(door.name, sent, 0, 0, repr(error))
        self.under_way -= 1
        self.answers.append(answer._replace(seconds=time.monotonic() - sent))

    def end(self) -> None:
        """Send no more, and wait for the answers."""
        self._stopped.set()
        self.join(TIMEOUT_SECONDS + 5)

    @property
    def failed(self) -> list[Answer]:
        """The answers that were not the wanted ones."""
        return [answer for answer in self.answers if answer.status != 200]

    @property
    def acknowledged(self) -> list[str]:
        """Ids of the predictions that were acknowledged as logged."""
        return [answer.prediction_id for answer in self.answers if answer.logged and answer.prediction_id]

    def seconds(self, share: float, *, door: str = "") -> float:
        """The quantile of the answers' times, of the doors whose name begins so."""
        found = sorted(answer.seconds for answer in self.answers if answer.door.startswith(door))
        return found[min(len(found) - 1, int(len(found) * share))]

    def told(self) -> str:
        """The failures in few words."""
        kinds = Counter(f"{answer.door}: {answer.status} {answer.told}" for answer in self.failed)
        return "; ".join(f"{count} x {kind}" for kind, count in kinds.most_common(8))


async def _answer(door: Door, sent: float, response: aiohttp.ClientResponse) -> Answer:
    content = await response.read()
    if response.status != 200:
        return Answer(door.name, sent, 0, response.status, content[:200].decode(errors="replace"))
    told = json.loads(content)
    if "prediction_id" not in told:  # feature serving
        return Answer(door.name, sent, 0, 200, "")
    logged = response.headers.get("beacon-logged") == "true"
    return Answer(door.name, sent, 0, 200, "", told["prediction_id"], told["model"]["version"], logged)


@contextlib.contextmanager
def under_load(doors: list[Door], rate: float) -> Iterator[Load]:
    """The load, while the block runs; every answer has come when it is left."""
    load = Load(doors, rate)
    load.start()
    try:
        yield load
    finally:
        load.end()
