"""The bridge between the event loop and the Flask half: a thread answers, the loop sends."""

import asyncio
from typing import Any, cast
from urllib.parse import quote_from_bytes

from a2wsgi import WSGIMiddleware
from flask import Flask

from beacon_core.domain.errors import BeaconError
from beacon_core.web.http import Request, Response

# Requests that wait for a Flask thread; more are shed.
FLASK_THREADS = 8
FLASK_QUEUE = 64
FRAMING = {b"content-length", b"transfer-encoding"}
# All that may be in a query, and what clients send there besides; bytes beyond ASCII are quoted, as a2wsgi needs it.
QUERY_SIGNS = "".join(sign for sign in map(chr, range(0x21, 0x7F)) if not sign.isalnum())
LAST_PAGES_SECONDS = 5.0


class FlaskBridge:
    """Answers requests by a Flask app, in threads of its own."""

    def __init__(self, flask: Flask) -> None:
        # a2wsgi's own names for the ASGI and WSGI types differ from ours in nothing but the name.
        self._flask: Any = WSGIMiddleware(cast("Any", flask.wsgi_app), workers=FLASK_THREADS)
        self._running: set[asyncio.Task[None]] = set()

    async def handle(self, request: Request) -> Response:
        """Answer one request; the handler of all that no hot route takes."""
        if len(self._running) >= FLASK_QUEUE:
            raise BeaconError("overloaded", "too many requests wait; try again")
        start: dict[str, Any] = {}
        chunks: list[bytes] = []

        async def receive_whole() -> dict[str, Any]:
            return {"type": "http.request", "body": request.body, "more_body": False}

        async def keep(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                chunks.append(message.get("body", b""))

        # a2wsgi takes `root_path` off the path again.
        path = request.scope.get("root_path", "") + request.scope["path"]
        # The body is whole by now: WSGI reads as much of it as its length says, and of one in chunks nothing.
        headers = [field for field in request.scope["headers"] if field[0] not in FRAMING]
        headers.append((b"content-length", str(len(request.body)).encode()))
        query = quote_from_bytes(request.scope["query_string"], safe=QUERY_SIGNS).encode()
        scope = request.scope | {"beacon.request": request, "path": path, "headers": headers, "query_string": query}
        # Also to its end when the client goes away: the thread would wait for ever to hand over its answer.
        running = asyncio.create_task(self._flask(scope, receive_whole, keep))
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        await asyncio.shield(running)
        headers = [*start["headers"], (b"x-request-id", request.id.encode())]
        return Response(b"".join(chunks), int(start["status"]), headers=headers, complete=True)

    async def drain(self) -> None:
        """Wait a while for the pages that nobody waits for any more."""
        if self._running:
            await asyncio.wait(self._running, timeout=LAST_PAGES_SECONDS)
