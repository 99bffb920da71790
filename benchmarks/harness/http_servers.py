"""The HTTP servers that could stand in front of inference, measured with the same application behind each.

`make bench ARGS=--http-servers`. Log, checks, metrics and access log are on.
"""

import contextlib
import http.client
import math
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from harness.asking import prediction_bodies, serving
from harness.closedloop import closed_loop
from harness.faults import faults
from harness.hostile import AMBIGUOUS, try_sockets
from harness.machine import LOAD_CORE, ROOT, WORK, say, uv
from harness.model import Model
from harness.openloop import open_loop
from harness.plan import SLOW_CLIENTS, STEADY_RATE
from harness.processes import cpu_seconds, memory, running, wait_until_idle
from harness.servers import Server, beacon, with_log

PINNED = ("granian==2.8.9",)
CROWD_SECONDS = 6.0
"""Who lets all of a crowd in at once answers the first of them late: a phase of a second sees little else."""
AT_ONCE = 16
"""Connections that are opened at the same time, of the many."""


class ServerPlan(msgspec.Struct, frozen=True):
    """How long and how often; `connections` are opened one after the other to see what memory they leave."""

    seconds: float
    repetitions: int
    rates: tuple[int, ...]
    connections: int


FULL = ServerPlan(seconds=2, repetitions=3, rates=(500, 1000, 2000, 4000, 8000), connections=40_000)
QUICK = ServerPlan(seconds=1, repetitions=1, rates=(500, 8000), connections=4_000)


class Figures(msgspec.Struct):
    """What was measured of one server, by the name of the figure; `wrong` names the sockets it answered wrongly."""

    title: str
    values: dict[str, float] = {}
    wrong: tuple[str, ...] = ()


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
            command=lambda port: with_log(command(port)),
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


def measure_http_servers(model: Model, plan: ServerPlan) -> list[Figures]:
    """Every candidate, one after the other: the machine must be quiet."""
    return [_measure(server, model, plan) for server in http_servers(model).values()]


def _measure(server: Server, model: Model, plan: ServerPlan) -> Figures:
    say(server.name)
    figures = Figures(server.title)
    values = figures.values
    with serving(server, model) as (pid, port, seconds):
        values["first answer, s"] = seconds
        _closed_loops(server, model, pid, port, plan, values)
        _many_clients(server, model, pid, port, plan, values)
        body = prediction_bodies(server, model, 1).read_bytes().splitlines()[0]
        sockets = try_sockets(port, server.one.path, body)
        wrong = set(sockets.wrong)
        values[f"ambiguous requests refused, of {sockets.ambiguous}"] = sockets.ambiguous - len(wrong & set(AMBIGUOUS))
        values[f"good forms answered, of {sockets.good}"] = sockets.good - len(wrong - set(AMBIGUOUS))
        figures.wrong = sockets.wrong
        values["resident memory, MB"] = memory(pid).total
        _connect(port, server.one.path, body, plan.connections)
        wait_until_idle(pid)
        values[f"resident after {plan.connections:,} connections, MB"] = memory(pid).total
    with serving(server, model) as (pid, port, _):  # with the small memory of a new one
        found = faults(server, model, pid, port)
    values["requests failed by kill -9 of the worker"] = found.failed_by_kill
    values["seconds until answered again"] = found.seconds_until_answered
    values["requests failed by SIGTERM"] = found.failed_by_end
    values["seconds to end by SIGTERM"] = found.seconds_to_end
    say(table([figures]))
    return figures


def _closed_loops(
    server: Server, model: Model, pid: int, port: int, plan: ServerPlan, values: dict[str, float]
) -> None:
    """One row at 1, 8 and 64 connections, and 1,000 rows at 8; answers that are lost or not 2xx do not count."""
    for rows, connections in ((1, 1), (1, 8), (1, 64), (1000, 8)):
        call = server.one if rows == 1 else server.many
        bodies = prediction_bodies(server, model, rows)
        wait_until_idle(pid)
        before = cpu_seconds(pid)
        loaded = closed_loop(
            port, call.path, bodies, connections, plan.seconds, plan.repetitions, may_lose=True, may_fail=True
        )
        wait_until_idle(pid)
        cpu = cpu_seconds(pid) - before
        where = f"{connections} connection{'s' if connections > 1 else ''}"
        if rows == 1:
            values[f"requests/s, {where}"] = loaded.per_second
            values[f"p99 ms, {where}"] = loaded.p99_ms
            values[f"CPU us per request, {where}"] = cpu / max(1, loaded.answered) * 1e6
        else:
            values[f"rows/s, {rows:,} rows per request, {where}"] = loaded.per_second * rows
            values[f"CPU us per row, {rows:,} rows per request"] = cpu / max(1, loaded.answered) / rows * 1e6


def _many_clients(
    server: Server, model: Model, pid: int, port: int, plan: ServerPlan, values: dict[str, float]
) -> None:
    """Open loops, clients that come at once, and slow clients."""
    bodies = prediction_bodies(server, model, 1)
    lines = bodies.read_bytes().splitlines()
    path = server.one.path
    for rate in plan.rates:
        paced = open_loop(port, path, lines, rate, plan.seconds)
        values[f"p99 ms at {rate:,}/s"] = paced.p99_ms if paced.held else float("nan")
    for crowd in (500, 3000):
        where = f"{crowd:,} clients at once"
        loaded = closed_loop(port, path, bodies, crowd, CROWD_SECONDS, plan.repetitions, may_lose=True, may_fail=True)
        values[f"good answers/s, {where}"] = loaded.per_second
        values[f"p99 ms, {where}"] = loaded.p99_ms
        values[f"shed or lost, {where}"] = loaded.lost
    wait_until_idle(pid)
    values[f"p99 ms at {STEADY_RATE}/s"] = open_loop(port, path, lines, STEADY_RATE, plan.seconds).p99_ms
    trickle = [sys.executable, "-m", "harness.trickle", str(port), path, str(SLOW_CLIENTS)]
    with running("trickle", trickle, {}, ROOT / "benchmarks", core=LOAD_CORE):
        time.sleep(1.5)
        paced = open_loop(port, path, lines, STEADY_RATE, plan.seconds)
    values[f"p99 ms at {STEADY_RATE}/s beside {SLOW_CLIENTS} slow clients"] = paced.p99_ms
    values["failed beside slow clients"] = paced.failed


def _connect(port: int, path: str, body: bytes, connections: int) -> None:
    """One request on each of many connections."""

    def ask_often(times: int) -> None:
        for _ in range(times):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            with contextlib.closing(connection):
                connection.request("POST", path, body, {"Content-Type": "application/json"})
                connection.getresponse().read()

    threads = [threading.Thread(target=ask_often, args=(connections // AT_ONCE,)) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def table(figures: list[Figures]) -> str:
    """A row per figure, a column per server, and below it the sockets that were answered wrongly."""
    lines = ["|  | " + " | ".join(item.title for item in figures) + " |"]
    lines.append("| --- " * (len(figures) + 1) + "|")
    for name in dict.fromkeys(name for item in figures for name in item.values):
        cells = [_number(item.values[name]) if name in item.values else "-" for item in figures]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    wrong = [f"- {item.title} answered wrongly: {'; '.join(item.wrong)}" for item in figures if item.wrong]
    return "\n".join([*lines, "", *wrong]) + "\n"


def _number(value: float) -> str:
    if math.isnan(value):
        return "fell behind"
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"
