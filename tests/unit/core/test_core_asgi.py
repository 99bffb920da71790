"""The event loop and the Flask half behind it: clients that go away, and too many that wait."""

import asyncio
import threading
import time
from collections.abc import Iterable, Iterator

import pytest
from flask import Response
from prometheus_client import CollectorRegistry
from support.service import METRICS_PORT, Answer, Service
from support.settings import Settings

from beacon_core.web.asgi import Application
from beacon_core.web.flask_app import create_flask
from beacon_core.web.flask_bridge import FLASK_QUEUE, FLASK_THREADS
from beacon_core.web.http import Request, Route
from beacon_core.web.http import Response as Given
from beacon_core.web.middlewares.overload import ROUND_REQUESTS, Overload

ROUND_SECONDS = Settings().overload_seconds
PIECES = 40  # more than wait between a thread and the event loop


@pytest.fixture
def gate() -> threading.Event:
    """The slow page is answered when this is set."""
    return threading.Event()


@pytest.fixture
def begun() -> threading.Semaphore:
    """Released by each thread that begins to answer the slow page."""
    return threading.Semaphore(0)


@pytest.fixture
def service(settings: Settings, gate: threading.Event, begun: threading.Semaphore) -> Iterator[Service]:
    """An application with one slow page, and one route that keeps the event loop busy."""
    flask = create_flask("test")

    @flask.get("/slow")
    def slow() -> Response:
        def pieces() -> Iterable[bytes]:
            begun.release()
            gate.wait(60)
            for _ in range(PIECES):
                yield b"x"

        return Response(pieces())

    async def busy(_: Request) -> Given:
        time.sleep(2 * ROUND_SECONDS / ROUND_REQUESTS)  # noqa: ASYNC251 - as a model would
        return Given(b"{}")

    async def nothing() -> None: ...

    app = Application(
        service="test",
        settings=settings,
        metrics_port=METRICS_PORT,
        routes=[Route("/busy", busy), Route("/state", busy, "GET")],
        flask=flask,
        registry=CollectorRegistry(),
        spans=None,
        start=nothing,
        stop=nothing,
    )
    with Service(app) as running:
        yield running
        gate.set()


def test_threads_whose_clients_went_away_take_the_next_requests(
    service: Service, gate: threading.Event, begun: threading.Semaphore
) -> None:
    async def visit() -> Answer:
        left = [asyncio.create_task(service.ask("GET", "/slow", b"")) for _ in range(FLASK_THREADS)]
        for _ in left:  # every thread has one
            assert await asyncio.to_thread(begun.acquire, timeout=60)
        for task in left:
            task.cancel()
        await asyncio.sleep(0)
        gate.set()
        return await asyncio.wait_for(service.ask("GET", "/slow", b""), 60)

    answer = service.run(visit())
    assert (answer.status, answer.body) == (200, b"x" * PIECES)


def test_more_than_can_wait_are_told_to_come_back(service: Service, gate: threading.Event) -> None:
    async def crowd() -> list[Answer]:
        asked = [asyncio.create_task(service.ask("GET", "/slow", b"")) for _ in range(FLASK_QUEUE + 3)]
        await asyncio.sleep(0.2)
        gate.set()
        return list(await asyncio.gather(*asked))

    answers: list[Answer] = service.run(crowd())
    assert [answer.status for answer in answers] == [200] * FLASK_QUEUE + [503] * 3
    assert answers[-1].error() == (503, "overloaded", None)
    assert answers[-1].headers["retry-after"] == "1"


def test_an_event_loop_with_too_much_to_do_turns_requests_away_and_recovers(service: Service) -> None:
    async def crowd() -> list[Answer]:
        asked = [service.ask("POST", "/busy", b"") for _ in range(3 * ROUND_REQUESTS)]
        watched = [service.ask("GET", "/state", b"") for _ in range(3)]
        return list(await asyncio.gather(*asked, *watched))

    answers: list[Answer] = service.run(crowd())
    asked, watched = answers[:-3], answers[-3:]
    taken = [answer.status for answer in asked].index(503)
    assert ROUND_REQUESTS <= taken <= 2 * ROUND_REQUESTS
    assert {answer.status for answer in asked[taken:]} == {503}  # in a real server the round ends some time
    assert asked[-1].error() == (503, "overloaded", None)
    assert asked[-1].headers["retry-after"] == "1"
    assert {answer.status for answer in watched} == {200}
    service.run(asyncio.sleep(0.1))
    assert service.post("/busy", b"").status == 200


@pytest.mark.parametrize(
    ("requests", "seconds", "turned"),
    [
        (ROUND_REQUESTS + 1, ROUND_SECONDS * 1.1, True),
        (ROUND_REQUESTS, ROUND_SECONDS * 9, False),  # it stood still, and few wait
        (ROUND_REQUESTS * 9, ROUND_SECONDS * 0.9, False),  # many, and it is quick
    ],
)
def test_a_round_is_too_long_by_time_and_by_requests(requests: int, seconds: float, turned: bool) -> None:
    overload = Overload(ROUND_SECONDS)
    overload.begin_round(100)
    told = [overload.should_shed(100 + seconds * number / (requests - 1)) for number in range(requests)]
    assert told[:-1] == [False] * (requests - 1)
    assert told[-1] is turned
    overload.begin_round(200)
    assert not overload.should_shed(200 + 9 * ROUND_SECONDS)  # what an earlier round had does not count
