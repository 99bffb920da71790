"""The limits of a request's body: so many bytes, and so many seconds for them to come."""

import asyncio
import contextlib

from beacon_core.domain.errors import BeaconError
from beacon_core.web.http import Handler, Receive, Request, Response, Send
from beacon_core.web.middlewares.chain import Middleware

LINGER_SECONDS = 10.0
"""How long a client that was refused may go on sending, so that it comes to read why."""


class UnreadBodyError(BeaconError):
    """The rest of the body was not read: the connection cannot be used again."""


class ClientDisconnectedError(Exception):
    """The client went away before it had asked anything: there is nobody to answer, and nothing to count."""


def limit_body(most_bytes: int, seconds: float) -> Middleware:
    """Read the whole body before anything is done with it, within the limits."""

    def middleware(handler: Handler) -> Handler:
        async def handle(request: Request) -> Response:
            headers = request.headers
            if b"content-length" in headers or b"transfer-encoding" in headers:
                request.body = await _read_body(request, most_bytes, seconds)
            return await handler(request)

        return handle

    return middleware


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
    if length is not None and length.isdigit() and int(length[:20]) > limit:
        raise _too_large(limit)
    try:
        async with asyncio.timeout(seconds):
            return await _read_within(request.receive, limit)
    except TimeoutError:
        raise UnreadBodyError("request_timeout", f"the body did not come within {seconds:g} seconds") from None


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


def _too_large(limit: int) -> UnreadBodyError:
    return UnreadBodyError("body_too_large", f"the body is larger than {limit} bytes")
