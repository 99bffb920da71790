"""HTTP byte by byte: a connection, and the routes of a service that take a body."""

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

REFUSED = 0
"""In place of a status: any of 4xx."""


class Door(NamedTuple):
    """A route that takes a body: what is sent there, and the status of the answer to it."""

    path: str
    body: bytes
    status: int
    kind: str = "application/json"
    headers: tuple[str, ...] = ()


class Reply(NamedTuple):
    """Status, headers by their names in lower case, and body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str | None:
        """The code of an error, where the body names one."""
        with contextlib.suppress(ValueError):
            found = json.loads(self.body)
            return str(found["code"]) if isinstance(found, dict) and "code" in found else None
        return None

    def told(self) -> tuple[int, str | None]:
        """What two answers to the same question have in common; errors in Feast's shape are the same to the letter."""
        plain = self.status >= 400 and self.code is None and self.headers["content-type"] == "application/json"
        return self.status, self.body.decode() if plain else self.code


class Wire:
    """A connection to a server on this machine."""

    def __init__(self, client: socket.socket, stream: BinaryIO) -> None:
        self.client, self._stream = client, stream

    def send(self, *parts: bytes) -> None:
        """Send, however far the server takes it."""
        with contextlib.suppress(ConnectionError):
            self.client.sendall(b"".join(parts))

    def half_close(self) -> None:
        """End the sending half."""
        self.client.shutdown(socket.SHUT_WR)

    def reply(self, *, bodiless: bool = False) -> Reply:
        """The next answer; an answer of 100 Continue is one, too."""
        status = self._stream.readline()
        assert status, "closed before it was answered"
        headers = {}
        while (line := self._stream.readline()) != b"\r\n":
            assert line, "closed within a head"
            name, _, value = line.partition(b":")
            headers[name.decode().lower()] = value.decode("latin-1").strip()
        length = 0 if bodiless else int(headers.get("content-length", 0))
        body = self._stream.read(length)
        assert len(body) == length, "closed within a body"
        return Reply(int(status.split()[1]), headers, body)

    def final(self) -> Reply:
        """The next answer that is not 100 Continue."""
        found = self.reply()
        return self.reply() if found.status == 100 else found

    def is_closed(self) -> bool:
        """Whether the server ends the connection, with nothing more to say."""
        with contextlib.suppress(ConnectionError):
            return self._stream.read(1) == b""
        return True


@contextlib.contextmanager
def wired(port: int, host: str = "127.0.0.1", seconds: float = 30) -> Iterator[Wire]:
    """A connection of its own."""
    with socket.create_connection((host, port), timeout=seconds) as client, client.makefile("rb") as stream:
        yield Wire(client, stream)


def head(door: Door, *lines: str, version: str = "1.1", target: str | None = None, kind: str | None = None) -> bytes:
    """The head of a POST to the door, without the framing of its body."""
    first = f"POST {target or door.path} HTTP/{version}"
    named = [first, "Host: x", f"Content-Type: {kind or door.kind}", *door.headers, *lines]
    return "\r\n".join([*named, "", ""]).encode("latin-1")


def whole(door: Door, *lines: str, body: bytes | None = None, **named: Any) -> bytes:
    """A request with the length of its body."""
    content = door.body if body is None else body
    return head(door, *lines, f"Content-Length: {len(content)}", **named) + content


def chunked(body: bytes, size: int = 1 << 16, extension: bytes = b"", trailer: bytes = b"") -> bytes:
    """A body in chunks."""
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    chunks = b"".join(b"%x%s\r\n%s\r\n" % (len(part), extension, part) for part in parts)
    return chunks + b"0\r\n" + trailer + b"\r\n"


def asked(port: int, *parts: bytes) -> Reply:
    """The answer to bytes sent on a connection of their own."""
    with wired(port) as wire:
        wire.send(*parts)
        return wire.final()
