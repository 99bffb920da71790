"""Slow clients: connections that each send a request body a byte at a time.

Run as a process of its own: `python -m harness.trickle PORT PATH CONNECTIONS`.
"""

import asyncio
import sys

BODY_BYTES = 100_000
PAUSE_SECONDS = 0.5


async def trickle(port: int, path: str) -> None:
    """Announce a long body and send it a byte a pause, until the other side or this process ends."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {BODY_BYTES}\r\n\r\n{{".encode())
    while not writer.is_closing():
        await asyncio.sleep(PAUSE_SECONDS)
        writer.write(b" ")
        await writer.drain()


async def main() -> None:
    """Open the connections, spread over one pause so that their bytes come evenly."""
    port, path, connections = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    tasks = []
    for _ in range(connections):
        tasks.append(asyncio.create_task(trickle(port, path)))
        await asyncio.sleep(PAUSE_SECONDS / connections)
    await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main())
