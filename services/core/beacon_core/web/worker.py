"""gunicorn's ASGI worker, on an event loop that lets nobody wait at the door.

libuv accepts one connection a round of its loop. Under load a round takes as long as all the answers that are asked for
at once, and of 500 clients that came together the last had its answer after 3 seconds. Here those who still wait are
let in together.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

import uvloop
from gunicorn.workers import gasgi

from beacon_core.web.connection import Connection

# Connections that the kernel holds meanwhile; uvloop's own default, 100, overrides gunicorn's setting.
BACKLOG = 2048
LOOK_SECONDS = 0.02
# So many at once, then those who are connected already have their turn.
LET_IN_AT_ONCE = 512
SILENCE_LOOK_SECONDS = 1.0

MakeProtocol = Callable[[], asyncio.Protocol]


class Loop(uvloop.Loop):
    """uvloop, which looks for connections that wait."""

    _connecting: set[asyncio.Task[None]]

    async def create_server(  # type: ignore[override]  # asyncio's has many forms, gunicorn uses this one
        self, make_protocol: MakeProtocol, *, sock: socket.socket, **options: Any
    ) -> Any:
        """Serve `sock`, a listening socket."""
        self._connecting = set()
        server = await super().create_server(make_protocol, sock=sock, backlog=BACKLOG, **options)
        self._look(server, sock, make_protocol)
        return server

    def _look(self, server: Any, listener: socket.socket, make_protocol: MakeProtocol) -> None:
        if not server.is_serving():
            return
        self.call_later(LOOK_SECONDS, self._look, server, listener, make_protocol)
        # An OSError: nobody waits, or no more files may be open, which libuv sees to.
        with contextlib.suppress(OSError):
            for _turn in range(LET_IN_AT_ONCE):
                connection, _ = listener.accept()
                task = self.create_task(self._connect(connection, make_protocol))
                self._connecting.add(task)  # the loop itself keeps no hold of its tasks
                task.add_done_callback(self._connecting.discard)

    async def _connect(self, connection: socket.socket, make_protocol: MakeProtocol) -> None:
        try:
            await self.connect_accepted_socket(make_protocol, connection)
        except OSError:
            connection.close()  # the client has gone already


class Worker(gasgi.ASGIWorker):  # type: ignore[misc]
    """gunicorn's, on this loop, with connections that end when their client has gone silent."""

    connections: set[Connection]

    def _setup_event_loop(self) -> None:
        gasgi.ASGIProtocol = Connection  # what it makes connections of
        self.connections = set()
        self.loop = Loop()
        asyncio.set_event_loop(self.loop)
        self._look_after_connections()

    def _look_after_connections(self) -> None:
        self.loop.call_later(SILENCE_LOOK_SECONDS, self._look_after_connections)
        now = self.loop.time()
        for connection in tuple(self.connections):
            connection.end_if_silent(now)
