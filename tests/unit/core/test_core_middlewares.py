"""The middlewares: their order, seen from outside, and what becomes of a request on its way through them."""

import asyncio
from collections.abc import Awaitable, Iterator
from typing import Any

import msgspec
import pytest
from flask import Flask
from prometheus_client import CollectorRegistry
from support.service import METRICS_PORT, Service, scope_of
from support.settings import Settings

from beacon_core.web.asgi import Application
from beacon_core.web.flask_app import create_flask
from beacon_core.web.http import Handler, Request, Response, Route
from beacon_core.web.middlewares.chain import Middleware, compose, not_needed

ORIGIN = "https://app.example.com"
MOST_BYTES = 1000
SCOPE = scope_of("POST", "/echo", [(b"host", b"beacon"), (b"transfer-encoding", b"chunked")])
Messages = list[dict[str, Any]]


@pytest.fixture
def taken() -> list[Request]:
    """The requests that came as far as the route."""
    return []


@pytest.fixture
def app(settings: Settings, taken: list[Request]) -> Application:
    """An application with one hot route and an empty Flask half."""

    async def echo(request: Request) -> Response:
        taken.append(request)
        return Response(request.body)

    async def nothing() -> None: ...

    flask: Flask = create_flask("test")
    return Application(
        service="test",
        settings=msgspec.structs.replace(settings, max_body_bytes=MOST_BYTES),
        metrics_port=METRICS_PORT,
        routes=[Route("/echo", echo)],
        flask=flask,
        registry=CollectorRegistry(),
        spans=None,
        origins=(ORIGIN,),
        start=nothing,
        stop=nothing,
    )


@pytest.fixture
def service(app: Application) -> Iterator[Service]:
    """The application, running."""
    with Service(app) as running:
        yield running


def test_the_first_middleware_sees_a_request_first_and_its_response_last() -> None:
    seen: list[str] = []

    def named(name: str) -> Middleware:
        def middleware(handler: Handler) -> Handler:
            async def handle(request: Request) -> Response:
                seen.append(f"{name} in")
                response = await handler(request)
                seen.append(f"{name} out")
                return response

            return handle

        return middleware

    async def innermost(_: Request) -> Response:
        seen.append("route")
        return Response(b"")

    async def ask() -> None:
        await compose((named("a"), not_needed, named("b")), innermost)(Request(SCOPE))

    asyncio.run(ask())
    assert seen == ["a in", "b in", "route", "b out", "a out"]
    assert compose((not_needed,), innermost) is innermost


LARGE = b"x" * (MOST_BYTES + 1)
ANY_TYPE, TEXT = (), (("content-type", "text/plain"),)
PREFLIGHT = (("origin", ORIGIN), ("access-control-request-method", "POST"))


@pytest.mark.parametrize(
    ("method", "body", "headers", "status"),
    [
        ("POST", b"{}", ANY_TYPE, 200),
        ("POST", b"{}", TEXT, 415),
        ("PUT", b"{}", TEXT, 405),  # the method is looked at before the type,
        ("PUT", LARGE, TEXT, 413),  # the body's size before both,
        ("OPTIONS", b"", PREFLIGHT, 200),
        ("OPTIONS", b"", (), 405),
        ("OPTIONS", LARGE, PREFLIGHT, 413),  # and of preflights, too
    ],
)
def test_the_middleware_that_comes_first_has_the_word(
    service: Service, method: str, body: bytes, headers: tuple[tuple[str, str], ...], status: int
) -> None:
    answer = service.run(service.ask(method, "/echo", body, (("origin", ORIGIN), *headers)))
    assert answer.status == status
    assert answer.headers["access-control-allow-origin"] == ORIGIN  # errors are marked, too
    assert answer.headers.get("connection") == ("close" if status == 413 else None)
    endpoint = "preflight" if headers == PREFLIGHT else "/echo"
    counted = f"http_requests_total{{endpoint={endpoint},method={method},status={status}}}"
    assert service.metrics()[counted] == 1


def test_a_request_that_was_answered_holds_neither_its_body_nor_its_client(
    service: Service, taken: list[Request]
) -> None:
    assert service.post("/echo", b"{}").body == b"{}"
    (request,) = taken
    assert (request.body, request.scope) == (b"", {})
    with pytest.raises(RuntimeError, match="nobody waits"):
        service.run(request.send({}))


def test_whoever_went_away_before_the_request_was_whole_is_neither_answered_nor_counted(
    service: Service, app: Application, taken: list[Request]
) -> None:
    async def gone() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    before = service.metrics()
    assert service.run(_sent(app, gone)) == []
    assert not taken
    assert service.metrics() == before


@pytest.mark.parametrize("path", ["/echo", "/flask/has/it"])
def test_a_server_that_fails_to_hand_over_the_body_is_an_internal_error(
    service: Service, app: Application, path: str
) -> None:
    async def broken() -> dict[str, Any]:
        raise OSError("broken")

    start, body = service.run(_sent(app, broken, path))
    assert start["status"] == 500
    assert b'"code":"internal"' in body["body"]
    endpoint = path if path == "/echo" else "unmatched"
    assert service.metrics()[f"api_errors_total{{endpoint={endpoint},error_type=internal}}"] == 1


async def _sent(app: Application, receive: Any, path: str = "/echo") -> Messages:
    messages: Messages = []

    def send(message: dict[str, Any]) -> Awaitable[None]:
        messages.append(message)
        return asyncio.sleep(0)

    await app(SCOPE | {"path": path}, receive, send)
    return messages
