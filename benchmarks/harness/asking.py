"""Ask a server and hold it to the right answer, before, while and after it is measured."""

import http.client
import json
import statistics
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.machine import WORK, BenchError
from harness.model import Model
from harness.processes import free_port, running
from harness.servers import Call, Server
from harness.tensors import HEAD_LENGTH, BinaryBodies, Tensors, decode, encode, write_requests

TOLERANCE = 1e-4
"""As a share of the spread of all expected answers."""
START_SECONDS = 90.0
BODIES = {1: 200, 10: 100, 100: 20, 1000: 4}
"""How many different bodies are sent in turn, by rows a request."""


def tolerance(model: Model) -> float:
    """How far an answer may be from scikit-learn's own, in the unit of the target."""
    return TOLERANCE * statistics.pstdev(model.expected)


def ask(port: int, path: str, body: Any, timeout: float = 10) -> Any:
    """One POST of JSON on a connection of its own; raises `OSError` or `BenchError` unless the answer is 200."""
    content, _ = _post(port, path, json.dumps(body).encode(), {"Content-Type": "application/json"}, timeout)
    return json.loads(content)


def check(port: int, call: Call, model: Model, rows: int) -> None:
    """The answer must be scikit-learn's own, so that nobody is measured on errors; raises `BenchError`."""
    _compare(call.path, call.decode(ask(port, call.path, call.encode(list(model.rows[:rows])))), model, rows)


def check_tensors(port: int, tensors: Tensors, model: Model, rows: int) -> None:
    """The same for binary tensors, whose answer must be binary as well."""
    head, tensor = encode(model.rows[:rows], tensors.output)
    headers = {"Content-Type": "application/octet-stream", HEAD_LENGTH: str(len(head))}
    content, answered = _post(port, tensors.path, head + tensor, headers, 10)
    _compare(tensors.path, decode(content, int(answered.get(HEAD_LENGTH, 0)), tensors.output), model, rows)


def _post(
    port: int, path: str, body: bytes, headers: dict[str, str], timeout: float
) -> tuple[bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise BenchError(f"{path}: {response.status}: {content[:500].decode(errors='replace')}")
    return content, response.headers


def _compare(path: str, answers: list[float], model: Model, rows: int) -> None:
    expected = model.expected[:rows]
    allowed = tolerance(model)
    if len(answers) != rows or any(abs(a - b) > allowed for a, b in zip(answers, expected, strict=True)):
        raise BenchError(f"{path}: wrong answer: {answers[:3]}, scikit-learn says {expected[:3]}")


@contextmanager
def started(
    name: str,
    command: list[str],
    variables: dict[str, str],
    folder: Path,
    ready: Callable[[], None],
) -> Generator[tuple[int, float]]:
    """A running server that has answered rightly: its pid, and the seconds from start to that answer."""
    began = time.monotonic()
    with running(name, command, variables, folder) as pid:
        while True:
            try:
                ready()
                break
            except (OSError, http.client.HTTPException, BenchError) as error:
                if time.monotonic() - began > START_SECONDS:
                    raise BenchError(f"{name}: no right answer in {START_SECONDS:.0f} s: {error}") from error
                time.sleep(0.01)
        yield pid, time.monotonic() - began


@contextmanager
def serving(server: Server, model: Model) -> Generator[tuple[int, int, float]]:
    """The server, started and right about one row: its pid, its port, and the seconds that took."""
    port = free_port()
    command, variables = server.command(port), server.variables(port)

    def ready() -> None:
        check(port, server.one, model, 1)

    with started(server.name, command, variables, server.folder, ready) as (pid, seconds):
        yield pid, port, seconds


def write_bodies(name: str, bodies: list[Any]) -> Path:
    """A file of JSON bodies, one a line."""
    file = WORK / "bodies" / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(body, separators=(",", ":")) + "\n" for body in bodies))
    return file


def batches(items: tuple[Any, ...], size: int) -> list[list[Any]]:
    """As many different requests of `size` items as are sent in turn, going round the items."""
    return [[items[(turn * size + k) % len(items)] for k in range(size)] for turn in range(BODIES[size])]


def prediction_bodies(server: Server, model: Model, rows: int) -> Path:
    """A file of prediction requests of `rows` rows each."""
    call = server.one if rows == 1 else server.many
    return write_bodies(f"{server.name}-{rows}", [call.encode(batch) for batch in batches(model.rows, rows)])


def tensor_bodies(server: Server, tensors: Tensors, model: Model, rows: int) -> BinaryBodies:
    """The same requests as binary tensors."""
    return write_requests(f"{server.name}-{rows}", batches(model.rows, rows), tensors.output)
