"""Feast's Redis online store, read over one pipelined connection.

All requests share the connection: their commands go out as they come, and Redis answers in order.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Sequence
from typing import Any

import hiredis
from feast.infra.online_stores.helpers import _mmh3
from feast.infra.online_stores.redis import RedisOnlineStore
from feast.repo_config import RepoConfig
from google.protobuf.timestamp_pb2 import Timestamp

from beacon_core.domain.masking import message_of
from beacon_core.web.timeouts import TICKS, tick_timeout
from beacon_feature_serving.catalog.plans import ViewRead
from beacon_feature_serving.rows import NANOSECONDS, UNKNOWN, FeatureRow, decode_value
from beacon_feature_serving.stores.reader import unavailable

CONNECT_SECONDS = 2.0
# The share of a read's time limit that opening a connection may take; the rest is the limit for silence.
CONNECT_SHARE = 1 / 3


class RedisConnection(asyncio.Protocol):
    """One connection: a queue of sent commands, each batch waiting for its number of replies.

    It is closed when commands wait and nothing at all arrives, not when one reply is late: a store under load is slow,
    a hung one is silent.
    """

    def __init__(self, silent_seconds: float) -> None:
        self.transport: asyncio.Transport | None = None
        self._silent_seconds = silent_seconds
        self._reader = hiredis.Reader()
        self._waiting: deque[tuple[int, list[Any], asyncio.Future[list[Any]]]] = deque()
        self._silent_ticks = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._silent_ticks = 0
        self._reader.feed(data)
        while self._waiting:
            count, replies, future = self._waiting[0]
            while len(replies) < count:
                reply = self._reader.gets()
                if reply is False:
                    return
                replies.append(reply)
            self._waiting.popleft()
            if not future.done():
                future.set_result(replies)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        for _, _, future in self._waiting:
            if not future.done():
                future.set_exception(exc or ConnectionResetError("Redis closed the connection"))
        self._waiting.clear()

    async def ask(self, commands: Sequence[bytes]) -> list[Any]:
        """Send the commands and wait for their replies; a reply that is an error is raised."""
        if self.transport is None:
            raise ConnectionResetError("the connection is closed")
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append((len(commands), [], future))
        self.transport.write(b"".join(commands))
        if self._timer is None:
            self._silent_ticks = 0
            self._start_timer()
        replies = await future
        for reply in replies:
            if isinstance(reply, hiredis.HiredisError):
                raise reply
        return replies

    def abort(self, error: Exception | None = None) -> None:
        """Drop the connection at once; whoever waits on it gets the error."""
        if self.transport is not None:
            self.transport.abort()
            self.connection_lost(error)

    def _start_timer(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._silent_seconds / TICKS, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._silent_ticks += 1
        if self._waiting and self._silent_ticks >= TICKS:
            self.abort(TimeoutError(f"nothing heard for {self._silent_seconds * 1000:.0f} ms"))
        if self._waiting:
            self._start_timer()


class RedisReader:
    """Reads one HMGET per entity, all of a request in one round trip."""

    def __init__(self, config: RepoConfig, timeout_seconds: float) -> None:
        self._connect_seconds = timeout_seconds * CONNECT_SHARE
        self._silent_seconds = timeout_seconds - self._connect_seconds
        nodes, options = RedisOnlineStore._parse_connection_string(config.online_store.connection_string)
        self._host, self._port = nodes[0]["host"], int(nodes[0]["port"])
        self._options = options
        self._project = config.project.encode()
        self._connection: RedisConnection | None = None
        self._connecting: asyncio.Task[RedisConnection] | None = None
        self._fields: dict[tuple[str, tuple[str, ...]], tuple[bytes, bytes]] = {}

    async def read(self, view: ViewRead, keys: Sequence[bytes]) -> list[FeatureRow | None]:
        head, tail = self._command(view)
        commands = [
            b"%b$%d\r\n%b%b\r\n%b" % (head, len(key) + len(self._project), key, self._project, tail) for key in keys
        ]
        return [_row(reply) for reply in await self._ask(commands)]

    async def check(self) -> None:
        await self._ask([_command("PING")])

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.abort()

    async def _ask(self, commands: Sequence[bytes]) -> list[Any]:
        try:
            connection = await self._connected()
            try:
                return await connection.ask(commands)
            except ConnectionError:
                # Redis closes idle connections, and restarts: a read is repeated once, on a new connection.
                connection.abort()
                connection = await self._connected()
                return await connection.ask(commands)
        except (OSError, hiredis.HiredisError) as error:  # TimeoutError is an OSError
            raise unavailable(message_of(error)) from error

    def _command(self, view: ViewRead) -> tuple[bytes, bytes]:
        """HMGET without its key: what comes before and after it."""
        known = self._fields.get((view.prefix, view.columns))
        if known is None:
            fields = [_mmh3(f"{view.prefix}:{column}") for column in view.columns] + [f"_ts:{view.prefix}".encode()]
            head = b"*%d\r\n$5\r\nHMGET\r\n" % (len(fields) + 2)
            known = head, b"".join(b"$%d\r\n%b\r\n" % (len(field), field) for field in fields)
            if len(self._fields) > 1024:
                self._fields.clear()
            self._fields[view.prefix, view.columns] = known
        return known

    async def _connected(self) -> RedisConnection:
        if self._connection is not None and self._connection.transport is not None:
            return self._connection
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._connect())
            self._connecting.add_done_callback(_read_outcome)
        async with tick_timeout(self._connect_seconds):
            return await asyncio.shield(self._connecting)

    async def _connect(self) -> RedisConnection:
        # The request may have timed out meanwhile: the connection is kept for the next one.
        async with asyncio.timeout(CONNECT_SECONDS):
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: RedisConnection(self._silent_seconds), self._host, self._port, ssl=_tls(self._options)
            )
            greeting = []
            if "password" in self._options:
                user = [str(self._options["username"])] if "username" in self._options else []
                greeting.append(_command("AUTH", *user, str(self._options["password"])))
            if self._options.get("db"):
                greeting.append(_command("SELECT", str(self._options["db"])))
            if greeting:
                try:
                    await connection.ask(greeting)
                except BaseException:
                    connection.abort()
                    raise
            self._connection = connection
            return connection


def _tls(options: dict[str, Any]) -> ssl.SSLContext | None:
    return ssl.create_default_context(cafile=options.get("ssl_ca_certs")) if options.get("ssl") else None


def _command(*words: str) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in map(str.encode, words))


def _read_outcome(task: asyncio.Task[RedisConnection]) -> None:
    """Read the outcome, as asyncio warns of one that nobody read: the request may have timed out meanwhile."""
    if not task.cancelled():
        task.exception()


def _row(reply: list[bytes | None]) -> FeatureRow | None:
    *cells, stamp = reply
    if stamp is None:
        return None
    time = Timestamp.FromString(stamp)
    return FeatureRow(
        time.seconds * NANOSECONDS + time.nanos,
        [UNKNOWN if cell is None else decode_value(cell) for cell in cells],
    )
