"""Everything measured of one server: right answers first, then start, load, slow clients and size."""

import statistics
import sys
import time

import msgspec

from harness.asking import check, prediction_bodies, serving
from harness.closedloop import Loaded, closed_loop
from harness.machine import LOAD_CORE, ROOT, megabytes, say, versions
from harness.model import Model
from harness.openloop import Paced, open_loop
from harness.processes import Memory, memory, running
from harness.servers import Server

CROWD = 500
"""Clients that come at once and all ask without a pause."""
SLOW_CLIENTS = 200
SLOW_RATE = 200
SETTLE_SECONDS = 2
"""Large batches are still under way when the closed loop ends, and must not be charged to the next phase's requests."""
LARGE_ROWS, LARGE_SECONDS = 1000, 3
"""Large batches need this long to be counted."""


class Plan(msgspec.Struct, frozen=True):
    """How long and how often."""

    starts: int
    seconds: float
    repetitions: int
    sizes: dict[int, tuple[int, ...]]
    """Connections of the closed loop, by rows a request."""
    rates: tuple[int, ...]
    open_seconds: float
    slow_repetitions: int
    slow_seconds: float
    feature_seconds: float
    steady_feast: bool
    """Whether `feast serve` is also measured without its restarts."""


FULL = Plan(
    starts=3,
    seconds=2,
    repetitions=3,
    sizes={1: (1, 8), 100: (1, 8), 1000: (1, 8)},
    rates=(200, 500, 1000, 2000, 4000, 8000),
    open_seconds=3,
    slow_repetitions=3,
    slow_seconds=2,
    feature_seconds=3,
    steady_feast=True,
)
QUICK = Plan(
    starts=1,
    seconds=1,
    repetitions=1,
    sizes={1: (1, 8), 100: (8,), 1000: (8,)},
    rates=(500, 2000),
    open_seconds=1,
    slow_repetitions=1,
    slow_seconds=1,
    feature_seconds=2,
    steady_feast=False,
)


class Slow(msgspec.Struct, frozen=True):
    """Normal requests' p99 alone and beside slow clients, and how many of them failed."""

    clients: int
    rate: int
    quiet_p99_ms: float
    slow_p99_ms: float
    failed: int


class Measured(msgspec.Struct, frozen=True):
    """One server's figures. `closed` is keyed `ROWSxCONNECTIONS`."""

    name: str
    title: str
    versions: dict[str, str]
    first_answer_seconds: float
    memory: Memory
    environment_mb: float | None
    closed: dict[str, Loaded]
    open: tuple[Paced, ...]
    crowd: Loaded
    slow: Slow


def measure(server: Server, model: Model, plan: Plan) -> Measured:
    """Start the server as often as the plan says, and measure the last one started."""
    first_answers = []
    for _ in range(plan.starts - 1):
        with serving(server, model) as (_, _, seconds):
            first_answers.append(seconds)
    with serving(server, model) as (pid, port, seconds):
        first_answers.append(seconds)
        say(f"  {server.name}: first answer after {statistics.median(first_answers):.2f} s")
        for call, rows in ((server.one, 1), (server.many, 100), (server.many, 1000)):
            check(port, call, model, rows)
        closed = {}
        for rows, connection_counts in plan.sizes.items():
            call = server.one if rows == 1 else server.many
            bodies = prediction_bodies(server, model, rows)
            for connections in connection_counts:
                span = max(plan.seconds, LARGE_SECONDS) if rows >= LARGE_ROWS else plan.seconds
                loaded = closed_loop(port, call.path, bodies, connections, span, plan.repetitions)
                closed[f"{rows}x{connections}"] = loaded
                say(f"  {server.name}: {rows} rows, {connections} connections: {shown(loaded)}")
        resident = memory(pid)
        time.sleep(SETTLE_SECONDS)
        paced = _open_loops(server, port, model, plan)
        bodies = prediction_bodies(server, model, 1)
        crowd = closed_loop(port, server.one.path, bodies, CROWD, plan.seconds, plan.repetitions, may_lose=True)
        say(f"  {server.name}: {CROWD} clients at once: {shown(crowd)}, lost: {crowd.lost}")
        slow = _slow_clients(server, port, model, plan)
        check(port, server.one, model, 1)
    return Measured(
        name=server.name,
        title=server.title,
        versions=versions(server.environment, server.packages),
        first_answer_seconds=statistics.median(first_answers),
        memory=resident,
        environment_mb=megabytes(server.environment) if server.environment_counts else None,
        closed=closed,
        open=paced,
        crowd=crowd,
        slow=slow,
    )


def _open_loops(server: Server, port: int, model: Model, plan: Plan) -> tuple[Paced, ...]:
    """Rates upwards, up to the first that the server does not hold."""
    bodies = prediction_bodies(server, model, 1).read_bytes().splitlines()
    done: list[Paced] = []
    for rate in plan.rates:
        paced = open_loop(port, server.one.path, bodies, rate, plan.open_seconds)
        say(f"  {server.name}: {rate}/s: p50 {paced.p50_ms:.2f} p99 {paced.p99_ms:.2f} ms, held: {paced.held}")
        done.append(paced)
        if not paced.held:
            break
    return tuple(done)


def _slow_clients(server: Server, port: int, model: Model, plan: Plan) -> Slow:
    bodies = prediction_bodies(server, model, 1).read_bytes().splitlines()

    def paced() -> list[Paced]:
        return [
            open_loop(port, server.one.path, bodies, SLOW_RATE, plan.slow_seconds) for _ in range(plan.slow_repetitions)
        ]

    quiet = paced()
    trickle = [sys.executable, "-m", "harness.trickle", str(port), server.one.path, str(SLOW_CLIENTS)]
    with running("trickle", trickle, {}, ROOT / "benchmarks", core=LOAD_CORE):
        time.sleep(1.5)
        beside = paced()
    slow = Slow(
        clients=SLOW_CLIENTS,
        rate=SLOW_RATE,
        quiet_p99_ms=statistics.median(run.p99_ms for run in quiet),
        slow_p99_ms=statistics.median(run.p99_ms for run in beside),
        failed=sum(run.failed for run in beside),
    )
    change = f"p99 {slow.quiet_p99_ms:.2f} -> {slow.slow_p99_ms:.2f} ms, failed {slow.failed}"
    say(f"  {server.name}: {SLOW_CLIENTS} slow clients: {change}")
    return slow


def shown(loaded: Loaded) -> str:
    """One measurement in a line of progress."""
    return f"{loaded.per_second:,.0f} requests/s, p50 {loaded.p50_ms:.2f} p99 {loaded.p99_ms:.2f} ms"
