"""The limits of a request's body: so many bytes, and so many seconds for them to come."""

import asyncio
import contextlib
import gc
import time

from beacon_core.domain.errors import BeaconError
from beacon_core.web.http import Handler, Receive, Request, Response
from beacon_core.web.middlewares.chain import Middleware

# A body of many pieces that are this small (in bytes, on average) is refused: each costs gunicorn as much as a large
# one, and more, the more of them wait.
FEW_PIECES = 256
SMALL_PIECE = 64


class UnreadBodyError(BeaconError):
    """The rest of the body was not read: the connection cannot be used again."""


class ClientDisconnectedError(Exception):
    """The client went away before it had asked anything: there is nobody to answer, and nothing to count."""


def limit_body(most_bytes: int, seconds: float) -> Middleware:
    """Read the whole body before anything is done with it, within the limits."""

    def middleware(handler: Handler) -> Handler:
        async def handle(request: Request) -> Response:
            request.body = await _read_body(request, most_bytes, seconds)
            return await handler(request)

        return handle

    return middleware


async def _read_body(request: Request, limit: int, seconds: float) -> bytes:
    """Read the whole body, of at most `limit` bytes, within `seconds`.

    Raises `body_too_large` as soon as the limit is passed, before more is read, and `request_timeout`.
    """
    length = request.headers.get(b"content-length")
    if length is not None and length.isdigit() and int(length[:20]) > limit:
        raise _too_large(limit)
    # The usual body is there at once. A timer for it would cost more than its reading; gunicorn bounds this one wait.
    message = await request.receive()
    body: bytes = message.get("body", b"")
    if message["type"] == "http.request" and message.get("more_body"):
        try:
            async with asyncio.timeout(seconds):
                return await _read_on(body, request.receive, limit)
        except TimeoutError:
            raise _too_slow(seconds) from None
    if message["type"] == "http.disconnect":
        if time.perf_counter() - request.started > seconds:
            raise _too_slow(seconds)
        raise ClientDisconnectedError
    if len(body) > limit:
        raise _too_large(limit)
    return body


async def _read_on(body: bytes, receive: Receive, limit: int) -> bytes:
    whole, pieces, more = bytearray(body), 1, True
    while more and len(whole) <= limit and (pieces < FEW_PIECES or len(whole) > pieces * SMALL_PIECE):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnectedError
        whole += message.get("body", b"")
        pieces += 1
        more = message.get("more_body", False)
    if not more and len(whole) <= limit:
        return bytes(whole)
    if more:
        await _forget(receive)
    # gunicorn's objects of a closed connection hold each other, and the last it read: 256 kB of each such body before.
    gc.collect()
    # Raised from no variable: an error that its own frame holds would keep what came until a garbage collection.
    raise (
        _too_large(limit) if len(whole) > limit else UnreadBodyError("body_too_large", "the body comes in tiny pieces")
    )


async def _forget(receive: Receive) -> None:
    """Take what has arrived of a refused body, and wait for no more."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0):
            for _ in range(FEW_PIECES):
                if not (await receive()).get("more_body"):
                    return


def _too_large(limit: int) -> UnreadBodyError:
    return UnreadBodyError("body_too_large", f"the body is larger than {limit} bytes")


def _too_slow(seconds: float) -> UnreadBodyError:
    return UnreadBodyError("request_timeout", f"the body did not come within {seconds:g} seconds")
