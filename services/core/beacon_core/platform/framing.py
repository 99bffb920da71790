"""Messages between processes of one machine: each behind its length."""

import struct
from typing import Protocol

LENGTH = struct.Struct(">I")


class Reader(Protocol):
    """What whole messages can be read from, as `asyncio.StreamReader`."""

    async def readexactly(self, n: int, /) -> bytes:
        """Read so many bytes; raises `EOFError` where there are fewer."""


def framed(content: bytes) -> bytes:
    """A message behind its length."""
    return LENGTH.pack(len(content)) + content


async def read_frame(reader: Reader) -> bytes:
    """Read the next message; raises `EOFError` where it does not come whole."""
    (size,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
    return await reader.readexactly(size)
