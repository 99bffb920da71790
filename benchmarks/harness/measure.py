"""Everything measured of one server: right answers first, then start, load, mixed traffic, slow clients and size."""

import statistics
import sys
import time
from collections.abc import Callable

import msgspec

from harness.asking import check, prediction_bodies, serving
from harness.closedloop import Loaded, closed_loop
from harness.machine import LOAD_CORE, ROOT, megabytes, say, versions
from harness.model import Model
from harness.openloop import Paced, open_loop
from harness.plan import CROWD, SLOW_CLIENTS, STEADY_RATE, Plan
from harness.processes import Memory, memory, running, wait_until_idle
from harness.served import (
    Served,
    beside_batches,
    binary_loops,
    check_answers,
    closed_loops,
    median_p99,
    shown,
    steady,
)
from harness.servers import Server


class Slow(msgspec.Struct, frozen=True):
    """Normal requests' p99 alone and beside slow clients, and how many of them failed."""

    clients: int
    rate: int
    quiet_p99_ms: float
    slow_p99_ms: float
    failed: int


class Measured(msgspec.Struct, frozen=True):
    """One server's figures; those of `models` are by model, the others were taken with the first of them."""

    name: str
    title: str
    versions: dict[str, str]
    first_answer_seconds: float
    memory: Memory
    environment_mb: float | None
    open: tuple[Paced, ...]
    crowd: Loaded
    slow: Slow
    models: dict[str, Served]


def measure(make: Callable[[Model], Server], models: dict[str, Model], plan: Plan) -> Measured:
    """Measure everything with the first model, and with the others what depends on the model."""
    first, *others = models.values()
    measured = _measure(make(first), first, plan)
    for model in others:
        server = make(model)
        say(f"  {server.name}: {model.title}")
        with serving(server, model) as (pid, port, _):
            check_answers(server, port, model, plan)
            closed, cpu = closed_loops(server, pid, port, model, plan, plan.other_sizes)
            binary = binary_loops(server, port, model, plan)
            wait_until_idle(pid)
            beside = beside_batches(server, port, model, plan, steady(server, port, model, plan))
            check(port, server.one, model, 1)
        measured.models[model.name] = Served(closed, binary, cpu, beside)
    return measured


def _measure(server: Server, model: Model, plan: Plan) -> Measured:
    """Start the server as often as the plan says, and measure the last one started."""
    first_answers = []
    for _ in range(plan.starts - 1):
        with serving(server, model) as (_, _, seconds):
            first_answers.append(seconds)
    with serving(server, model) as (pid, port, seconds):
        first_answers.append(seconds)
        say(f"  {server.name}: first answer after {statistics.median(first_answers):.2f} s")
        check_answers(server, port, model, plan)
        closed, cpu = closed_loops(server, pid, port, model, plan, plan.sizes)
        binary = binary_loops(server, port, model, plan)
        resident = memory(pid)
        wait_until_idle(pid)
        paced = _open_loops(server, port, model, plan)
        bodies = prediction_bodies(server, model, 1)
        crowd = closed_loop(
            port, server.one.path, bodies, CROWD, plan.seconds, plan.repetitions, may_lose=True, may_fail=True
        )
        say(f"  {server.name}: {CROWD} clients at once: {shown(crowd)}, shed or lost: {crowd.lost}")
        wait_until_idle(pid)
        quiet = steady(server, port, model, plan)
        slow = _slow_clients(server, port, model, plan, quiet)
        beside = beside_batches(server, port, model, plan, quiet)
        check(port, server.one, model, 1)
    return Measured(
        name=server.name,
        title=server.title,
        versions=versions(server.environment, server.packages),
        first_answer_seconds=statistics.median(first_answers),
        memory=resident,
        environment_mb=megabytes(server.environment) if server.environment_counts else None,
        open=paced,
        crowd=crowd,
        slow=slow,
        models={model.name: Served(closed, binary, cpu, beside)},
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


def _slow_clients(server: Server, port: int, model: Model, plan: Plan, quiet: list[Paced]) -> Slow:
    trickle = [sys.executable, "-m", "harness.trickle", str(port), server.one.path, str(SLOW_CLIENTS)]
    with running("trickle", trickle, {}, ROOT / "benchmarks", core=LOAD_CORE):
        time.sleep(1.5)
        beside = steady(server, port, model, plan)
    slow = Slow(
        clients=SLOW_CLIENTS,
        rate=STEADY_RATE,
        quiet_p99_ms=median_p99(quiet),
        slow_p99_ms=median_p99(beside),
        failed=sum(run.failed for run in beside),
    )
    change = f"p99 {slow.quiet_p99_ms:.2f} -> {slow.slow_p99_ms:.2f} ms, failed {slow.failed}"
    say(f"  {server.name}: {SLOW_CLIENTS} slow clients: {change}")
    return slow
