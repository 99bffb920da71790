"""The HTTP servers that could stand in front of inference, measured with the same application behind each.

`make bench ARGS=--http-servers`. Log, checks, metrics and access log are on.
"""

import contextlib
import http.client
import os
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path

import msgspec

from harness.asking import prediction_bodies, serving
from harness.closedloop import Counted, wrk
from harness.machine import LOAD_CORE, ROOT, WORK, say, uv
from harness.model import Model
from harness.openloop import open_loop
from harness.processes import cpu_seconds, ended, largest_child, memory, running
from harness.servers import Server, beacon

PINNED = ("granian==2.8.9",)
TURNS, ROUNDS = 12, 2
SECONDS = 2.0
CONNECTIONS = 40_000
AT_ONCE = 16
RATES = (500, 2000, 8000)


class Figures(msgspec.Struct):
    """What was measured of one server, by the name of the figure; one value a round."""

    title: str
    rounds: dict[str, list[float]]

    def add(self, name: str, value: float) -> None:
        """Keep a round's value."""
        self.rounds.setdefault(name, []).append(value)


def http_servers(model: Model) -> dict[str, Server]:
    """The candidates by name; the first is what Beacon runs."""
    ours = beacon(model)
    environment = ours.environment
    extra = _extra_packages(environment)
    python = str(environment / "bin" / "python")
    paths = f"{extra}:{ROOT / 'benchmarks' / 'http_servers'}"

    def home(name: str) -> str:
        folder = WORK / f"home-{name}"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(model.home, folder)
        return str(folder)

    def candidate(name: str, title: str, command: Callable[[int], list[str]]) -> Server:
        return msgspec.structs.replace(
            ours,
            name=name,
            title=title,
            command=command,
            variables=lambda port: {**ours.variables(port), "PYTHONPATH": paths, "BEACON_HOME": home(name)},
        )

    gunicorn = [python, "-m", "gunicorn", "-w", "1", "--no-control-socket", "--backlog", "2048", "app:app"]

    def under_gunicorn(*worker: str) -> Callable[[int], list[str]]:
        return lambda port: [*gunicorn, "-b", f"127.0.0.1:{port}", *worker]

    granian = [python, "-m", "granian", "--interface", "asgi", "--loop", "uvloop", "--workers", "1", "--no-ws"]
    granian += ["--respawn-failed-workers", "app:app"]
    return {
        "beacon": ours,
        "gunicorn": candidate(
            "gunicorn", "gunicorn's ASGI worker", under_gunicorn("-k", "asgi", "--asgi-loop", "uvloop")
        ),
        "uvicorn": candidate(
            "uvicorn", "gunicorn with uvicorn's worker", under_gunicorn("-k", "uvicorn_worker.UvicornWorker")
        ),
        "granian": candidate("granian", "Granian", lambda port: [*granian, "--port", str(port)]),
    }


def _extra_packages(environment: Path) -> Path:
    """The folder of what is compared and not used, installed beside the environment."""
    folder = WORK / "environments" / "http-servers"
    stamp = folder / "pinned"
    if not stamp.exists() or stamp.read_text().split() != list(PINNED):
        shutil.rmtree(folder, ignore_errors=True)
        python = str(environment / "bin" / "python")
        subprocess.run([uv(), "pip", "install", "--quiet", "--python", python, "--target", folder, *PINNED], check=True)
        stamp.write_text("\n".join(PINNED))
    return folder


def measure_http_servers(model: Model) -> list[Figures]:
    """Every candidate: all run at once and take turns of a second, so that a busy machine is unfair to none."""
    servers = http_servers(model)
    found = {name: Figures(server.title, {}) for name, server in servers.items()}
    with contextlib.ExitStack() as stack:
        running_servers = {}
        for name, server in servers.items():
            pid, port, first = stack.enter_context(serving(server, model))
            found[name].add("first answer, s", first)
            running_servers[name] = (pid, port)
        for number in range(1, TURNS + 1):
            say(f"turn {number} of {TURNS}: closed loop")
            for connections in (1, 8, 64):
                for name, (pid, port) in running_servers.items():
                    _one_row(servers[name], model, pid, port, connections, found[name])
            for name, (pid, port) in running_servers.items():
                _thousand_rows(servers[name], model, pid, port, found[name])
        for number in range(1, ROUNDS + 1):
            say(f"round {number} of {ROUNDS}: open loop, crowds, slow clients")
            for name, (_, port) in running_servers.items():
                _many_clients(servers[name], model, port, found[name])
        say(table(list(found.values())))
        for name, (pid, port) in running_servers.items():
            say(f"{CONNECTIONS:,} connections: {name}")
            found[name].add("resident memory, MB", memory(pid).total)
            bodies = prediction_bodies(servers[name], model, 1).read_bytes().splitlines()
            _connect(port, servers[name].one.path, bodies[0])
            time.sleep(3)
            found[name].add(f"and after {CONNECTIONS:,} connections, MB", memory(pid).total)
    for name, server in servers.items():
        say(f"faults: {name}")
        _faults(server, model, found[name])
    return list(found.values())


def _one_row(server: Server, model: Model, pid: int, port: int, connections: int, figures: Figures) -> None:
    bodies = prediction_bodies(server, model, 1)
    counted, cpu = _closed(pid, port, server.one.path, bodies, connections)
    name = f"{connections} connection{'s' if connections > 1 else ''}"
    figures.add(f"requests/s, {name}", counted.requests / counted.seconds)
    if counted.requests:
        figures.add(f"CPU us per request, {name}", cpu / counted.requests * 1e6)
        figures.add(f"p99 ms, {name}", counted.p99_ms)


def _thousand_rows(server: Server, model: Model, pid: int, port: int, figures: Figures) -> None:
    bodies = prediction_bodies(server, model, 1000)
    counted, cpu = _closed(pid, port, server.many.path, bodies, 8)
    figures.add("rows/s, 1,000 rows per request", counted.requests / counted.seconds * 1000)
    if counted.requests:
        figures.add("CPU us per row, 1,000 rows per request", cpu / counted.requests * 1e3)


def _many_clients(server: Server, model: Model, port: int, figures: Figures) -> None:
    bodies = prediction_bodies(server, model, 1)
    lines = bodies.read_bytes().splitlines()
    for rate in RATES:
        figures.add(f"p99 ms at {rate:,}/s", open_loop(port, server.one.path, lines, rate, SECONDS).p99_ms)
    for crowd in (500, 3000):
        counted = wrk(port, server.one.path, bodies, crowd, SECONDS, may_lose=True, may_fail=True)
        figures.add(f"good answers/s, {crowd:,} clients at once", (counted.requests - counted.failed) / counted.seconds)
        figures.add(f"p99 ms, {crowd:,} clients at once", counted.p99_ms)
        figures.add(f"shed or lost, {crowd:,} clients at once", counted.failed + counted.lost)
    time.sleep(1)
    figures.add("p99 ms at 200/s", open_loop(port, server.one.path, lines, 200, SECONDS).p99_ms)
    trickle = [sys.executable, "-m", "harness.trickle", str(port), server.one.path, "200"]
    with running("trickle", trickle, {}, ROOT / "benchmarks", core=LOAD_CORE):
        time.sleep(1.5)
        paced = open_loop(port, server.one.path, lines, 200, SECONDS)
    figures.add("p99 ms at 200/s beside 200 slow clients", paced.p99_ms)
    figures.add("failed beside slow clients", paced.failed)


def _closed(pid: int, port: int, path: str, bodies: Path, connections: int) -> tuple[Counted, float]:
    """What was answered in a turn, and the processor time of the server for it."""
    before = cpu_seconds(pid)
    counted = wrk(port, path, bodies, connections, 1, may_lose=True)
    return counted, cpu_seconds(pid) - before


def _connect(port: int, path: str, body: bytes) -> None:
    """One request on each of many connections."""

    def ask(times: int) -> None:
        for _ in range(times):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            with contextlib.closing(connection):
                connection.request("POST", path, body, {"Content-Type": "application/json"})
                connection.getresponse().read()

    threads = [threading.Thread(target=ask, args=(CONNECTIONS // AT_ONCE,)) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Client(threading.Thread):
    """Asks without pause on one connection; notes answers, requests without one, and the longest wait."""

    def __init__(self, port: int, path: str, body: bytes) -> None:
        super().__init__()
        self._port, self._path, self._body = port, path, body
        self.answered = self.failed = 0
        self.slowest = 0.0
        self.stop = threading.Event()

    def run(self) -> None:
        connection = None
        while not self.stop.is_set():
            began = time.monotonic()
            try:
                if connection is None:
                    connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
                    connection.connect()
            except OSError:
                connection = None
                time.sleep(0.02)
                continue
            try:
                connection.request("POST", self._path, self._body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                answer.read()
                self.answered += answer.status == 200
                self.failed += answer.status != 200
                if answer.getheader("connection") == "close":
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException):
                self.failed += 1
                connection = None
            self.slowest = max(self.slowest, time.monotonic() - began)


@contextlib.contextmanager
def _clients(port: int, server: Server, model: Model, count: int = 8) -> Generator[list[Client]]:
    body = prediction_bodies(server, model, 1).read_bytes().splitlines()[0]
    clients = [Client(port, server.one.path, body) for _ in range(count)]
    for client in clients:
        client.start()
    try:
        yield clients
    finally:
        for client in clients:
            client.stop.set()
        for client in clients:
            client.join()


def _faults(server: Server, model: Model, figures: Figures) -> None:
    with serving(server, model) as (pid, port, _):
        with _clients(port, server, model) as clients:
            time.sleep(1)
            worker = largest_child(pid)
            os.kill(worker, signal.SIGKILL)
            time.sleep(4)
            figures.add("failed by kill -9 of the worker", sum(client.failed for client in clients))
            figures.add("longest wait, s", max(client.slowest for client in clients))
        with _clients(port, server, model) as clients:
            time.sleep(1)
            began = time.monotonic()
            os.kill(pid, signal.SIGTERM)
            _wait_for_end(pid)
            figures.add("seconds to end by SIGTERM", time.monotonic() - began)
            figures.add("failed by SIGTERM", sum(client.failed for client in clients))


def _wait_for_end(pid: int) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end and ended(pid) is False:
        time.sleep(0.02)


def table(figures: list[Figures]) -> str:
    """A row per figure, a column per server: the best of its turns, and the median in brackets."""
    lines = ["| best (median) | " + " | ".join(item.title for item in figures) + " |"]
    lines.append("| --- " * (len(figures) + 1) + "|")
    for name in dict.fromkeys(name for item in figures for name in item.rounds):
        cells = [_cell(name, item.rounds.get(name, [])) for item in figures]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(name: str, values: list[float]) -> str:
    if not values:
        return "-"
    best = max(values) if "/s, " in name else min(values)
    shown = _number(best)
    return shown if len(values) == 1 else f"{shown} ({_number(statistics.median(values))})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"
