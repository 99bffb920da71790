"""An event loop that lets in all who wait, together: libuv accepts one connection a round."""

import contextlib
import socket
from typing import Any

import uvloop

LOOK_SECONDS = 0.02
LET_IN_AT_ONCE = 512  # then those who are connected already have their turn


class Loop(uvloop.Loop):
    """uvloop, of whose 500 clients at once the last would wait for seconds."""

    async def create_server(self, make: Any, *, sock: socket.socket, **options: Any) -> Any:  # type: ignore[override]
        server = await super().create_server(make, sock=sock, **options)
        self._let_in(server, sock, make)
        return server

    def _let_in(self, server: Any, listener: socket.socket, make: Any) -> None:
        if server.is_serving():
            self.call_later(LOOK_SECONDS, self._let_in, server, listener, make)
            with contextlib.suppress(OSError):  # nobody waits, or no more files may be open
                for _ in range(LET_IN_AT_ONCE):
                    connecting = self.create_task(self.connect_accepted_socket(make, listener.accept()[0]))
                    connecting.add_done_callback(lambda done: done.exception())  # who has gone already is no error
