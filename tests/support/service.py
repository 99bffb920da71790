"""A service's real ASGI application, asked in process: no server, no socket, the same code from scope to answer."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple, Self

from prometheus_client.parser import text_string_to_metric_families
from support.waiting import until

from beacon_core.web.asgi import Application

PORT, METRICS_PORT = 8080, 9090
TICK_SECONDS = 0.02
Headers = Iterable[tuple[str, str]]


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as strict JSON: NaN and infinities are refused, and so are two keys of one name."""
        return strict_json(self.body)

    def error(self) -> tuple[int, str, str | None]:
        """Status, code and field of an error in Beacon's shape; its words must be there, too."""
        body = self.json()
        assert body["error"]
        assert body["request_id"] == self.headers["x-request-id"]
        return self.status, body["code"], body["field"]


def strict_json(text: bytes) -> Any:
    """Parse JSON as RFC 8259 has it."""

    def refuse(name: str) -> None:
        raise AssertionError(f"not JSON: {name}")

    def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({key for key, _ in pairs}) == len(pairs), f"a key is there twice: {pairs}"
        return dict(pairs)

    return json.loads(text.decode("utf-8"), parse_constant=refuse, object_pairs_hook=distinct)


class Service:
    """An application between its lifespan's start and end, on an event loop of its own."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._runner = asyncio.Runner()
        self._told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._happened: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    @property
    def app(self) -> Any:
        """The application."""
        return self._app

    def __enter__(self) -> Self:
        self.run(self._begin())
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._end())
        self._runner.close()

    def run(self, work: Awaitable[Any]) -> Any:
        """Run a coroutine on the application's loop."""
        return self._runner.run(work)  # type: ignore[arg-type]

    def until(self, condition: Callable[[], Any], what: str) -> None:
        """Let the application run until the condition holds."""
        until(lambda: condition() or self.run(asyncio.sleep(TICK_SECONDS)), what)

    def post(self, path: str, body: Any, headers: Headers = ()) -> Answer:
        """POST `body` (bytes as they are, anything else as JSON)."""
        return self.run(self.ask("POST", path, body, headers))  # type: ignore[no-any-return]

    def get(self, path: str, headers: Headers = ()) -> Answer:
        """GET."""
        return self.run(self.ask("GET", path, b"", headers))  # type: ignore[no-any-return]

    def post_within(self, seconds: float, path: str, body: Any, headers: Headers = ()) -> Answer:
        """POST; answered before the loop has counted `seconds`, which it does slowly where it gets no CPU."""

        async def counted() -> Answer:
            asked = asyncio.create_task(self.ask("POST", path, body, headers))
            for _ in range(round(seconds / TICK_SECONDS)):
                await asyncio.wait({asked}, timeout=TICK_SECONDS)
                if asked.done():
                    return asked.result()
            raise AssertionError(f"{path} was not answered within {seconds} s")

        return self.run(counted())  # type: ignore[no-any-return]

    def metrics(self) -> dict[str, float]:
        """Every sample of the metrics port, keyed as `name{label=value,...}`."""
        text = self.run(self.ask("GET", "/metrics", b"", port=METRICS_PORT)).body.decode()
        return samples(text)

    async def ask(
        self, method: str, path: str, body: Any, headers: Headers = (), *, chunks: bool = False, port: int = PORT
    ) -> Answer:
        """One request; in `chunks` it comes without a length, a kilobyte at a time."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
        names = {name for name, _ in given}
        if method == "POST" and b"content-type" not in names:
            given.append((b"content-type", b"application/json"))
        if chunks:
            given.append((b"transfer-encoding", b"chunked"))
        elif b"content-length" not in names:
            given.append((b"content-length", str(len(content)).encode()))
        parts = [content[at : at + 1024] for at in range(0, len(content), 1024)] if chunks else [content]
        return await self.send(method, path, given, parts or [b""], port)

    async def send(
        self, method: str, path: str, headers: list[tuple[bytes, bytes]], parts: Sequence[bytes], port: int = PORT
    ) -> Answer:
        """One request, byte for byte."""
        waiting = list(parts)
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if not waiting:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        if b"host" not in {name for name, _ in headers}:
            headers = [(b"host", b"beacon"), *headers]
        await self._app(scope_of(method, path, headers, port), receive, send)
        start, rest = sent[0], sent[1:]
        return Answer(
            start["status"],
            {name.decode().lower(): value.decode("latin-1") for name, value in start["headers"]},
            b"".join(message.get("body", b"") for message in rest),
        )

    async def _begin(self) -> None:
        self._life = asyncio.create_task(self._app({"type": "lifespan"}, self._told.get, self._happened.put))
        await self._told.put({"type": "lifespan.startup"})
        assert (await self._happened.get())["type"] == "lifespan.startup.complete"

    async def _end(self) -> None:
        await self._told.put({"type": "lifespan.shutdown"})
        await self._life
        assert (await self._happened.get())["type"] == "lifespan.shutdown.complete"


def samples(text: str) -> dict[str, float]:
    """A Prometheus exposition as one dictionary."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def scope_of(method: str, target: str, headers: list[tuple[bytes, bytes]], port: int = PORT) -> dict[str, Any]:
    """The scope of a request, as a server makes it."""
    path, _, query = target.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode("utf-8", "surrogateescape"),
        "query_string": query.encode("utf-8", "surrogateescape"),
        "root_path": "",
        "headers": headers,
        "server": ("127.0.0.1", port),
        "client": ("127.0.0.1", 40000),
    }
