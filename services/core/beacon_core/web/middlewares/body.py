"""The limits of a request's body: so many bytes, and so many seconds for them to come."""

import asyncio
import contextlib
from collections.abc import Coroutine, Generator
from typing import Any

from beacon_core.domain.errors import BeaconError
from beacon_core.web.http import Handler, Receive, Request, Response, Send
from beacon_core.web.middlewares.chain import Middleware

SMALL_BODY_BYTES = 65_536
"""A body of so many bytes is read before its request is refused, so that the client can go on with its connection."""
LINGER_SECONDS = 10.0
"""How long a client that was refused may go on sending, so that it comes to read why."""


class ClientDisconnectedError(Exception):
    """The client went away before it had asked anything: there is nobody to answer, and nothing to count."""


def limit_body(most_bytes: int, seconds: float) -> Middleware:
    """Read the whole body before anything is done with it, within the limits."""

    def middleware(handler: Handler) -> Handler:
        async def handle(request: Request) -> Response:
            if _has_body(request):
                request.body = await _read_body(request, most_bytes, seconds)
            return await handler(request)

        return handle

    return middleware


async def leave_body(request: Request, error: BeaconError, seconds: float) -> Response:
    """Raise the error of a request whose body is still to come, and read no more of that than is small."""
    length = request.headers.get(b"content-length", b"")
    if length.isdigit() and int(length[:20]) <= SMALL_BODY_BYTES:
        await _read_body(request, SMALL_BODY_BYTES, seconds)
    else:
        request.is_unread = _has_body(request)
    raise error


def _has_body(request: Request) -> bool:
    return b"content-length" in request.headers or b"transfer-encoding" in request.headers


async def end_after_body(receive: Receive, send: Send) -> None:
    """End the answer to a client whose body was refused once it has sent all of it, or for long enough.

    A connection that ends before is reset, and a client that sends first and reads then would never see the answer.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            while (await receive()).get("more_body"):
                pass
    await send({"type": "http.response.body", "body": b""})


async def _read_body(request: Request, limit: int, seconds: float) -> bytes:
    """Read the whole body, of at most `limit` bytes, within `seconds`.

    Raises `body_too_large` as soon as the limit is passed, before more is read, and `request_timeout`.
    """
    length = request.headers.get(b"content-length")
    try:
        if length is not None and length.isdigit() and int(length[:20]) > limit:
            raise _too_large(limit)
        reading = _read_within(request.receive, limit)
        try:
            waits_for = reading.send(None)  # most bodies have come with their head: a timer costs more than they do
        except StopIteration as done:
            body: bytes = done.value
            return body
        async with asyncio.timeout(seconds):
            return await _Begun(reading, waits_for)
    except TimeoutError:
        request.is_unread = True
        raise BeaconError("request_timeout", f"the body did not come within {seconds:g} seconds") from None
    except BeaconError:
        request.is_unread = True
        raise


class _Begun:
    """A coroutine that has begun, and waits for something."""

    def __init__(self, coroutine: Coroutine[Any, Any, bytes], waits_for: Any) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, bytes]:
        try:
            yield self._waits_for
        except BaseException as error:
            self._coroutine.throw(error)  # which raises it: reading a body catches nothing
            raise
        return (yield from self._coroutine.__await__())


async def _read_within(receive: Receive, limit: int) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    if message["type"] == "http.request" and not message.get("more_body") and len(body) <= limit:
        return body
    whole = bytearray(body)
    while message["type"] == "http.request" and len(whole) <= limit:
        if not message.get("more_body"):
            return bytes(whole)
        message = await receive()
        whole += message.get("body", b"")
    if message["type"] == "http.disconnect":
        raise ClientDisconnectedError
    whole.clear()  # an error holds the frames that it went through
    raise _too_large(limit)


def _too_large(limit: int) -> BeaconError:
    return BeaconError("body_too_large", f"the body is larger than {limit} bytes")
