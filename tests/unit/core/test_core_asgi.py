"""The Flask half behind the event loop: clients that go away, and too many that wait."""

import asyncio
import threading
from collections.abc import Iterable, Iterator

import pytest
from flask import Response
from prometheus_client import CollectorRegistry
from support.service import METRICS_PORT, Answer, Service

from beacon_core.serving.asgi import FLASK_QUEUE, FLASK_THREADS, Application
from beacon_core.serving.flask_app import create_flask
from beacon_core.settings import Settings

PIECES = 40  # more than wait between a thread and the event loop


@pytest.fixture
def gate() -> threading.Event:
    """The slow page is answered when this is set."""
    return threading.Event()


@pytest.fixture
def service(settings: Settings, gate: threading.Event) -> Iterator[Service]:
    """An application with one page."""
    flask = create_flask("test")

    @flask.get("/slow")
    def slow() -> Response:
        def pieces() -> Iterable[bytes]:
            gate.wait(10)
            for _ in range(PIECES):
                yield b"x"

        return Response(pieces())

    async def nothing() -> None: ...

    app = Application(
        service="test",
        settings=settings,
        metrics_port=METRICS_PORT,
        routes=[],
        flask=flask,
        registry=CollectorRegistry(),
        spans=None,
        start=nothing,
        stop=nothing,
    )
    with Service(app) as running:
        yield running
        gate.set()


def test_threads_whose_clients_went_away_take_the_next_requests(service: Service, gate: threading.Event) -> None:
    async def visit() -> Answer:
        left = [asyncio.create_task(service.ask("GET", "/slow", b"")) for _ in range(FLASK_THREADS)]
        await asyncio.sleep(0.2)  # every thread has one
        for task in left:
            task.cancel()
        await asyncio.sleep(0)
        gate.set()
        return await asyncio.wait_for(service.ask("GET", "/slow", b""), 5)

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
