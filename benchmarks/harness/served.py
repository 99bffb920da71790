"""What is measured of a server with each model: closed loops, binary tensors, processor time, and mixed traffic."""

import statistics

import msgspec

from harness.asking import check, check_tensors, prediction_bodies, tensor_bodies
from harness.closedloop import Loaded, closed_loop, under_load
from harness.machine import say
from harness.model import Model
from harness.openloop import Paced, open_loop
from harness.plan import CPU_CONNECTIONS, CPU_ROWS, LARGE_ROWS, STEADY_RATE, Plan
from harness.processes import cpu_seconds, wait_until_idle
from harness.servers import Server


class Beside(msgspec.Struct, frozen=True):
    """p99 of single rows at a steady rate: alone, and while another client sends batches of 1,000 without a pause.

    `rows_per_second` is what that client got meanwhile; `failed` counts single rows. `sender_late_p99_ms` is how late
    the generator was, whose core the other client shares: a share of `beside_p99_ms` that is not the server's.
    """

    rate: int
    quiet_p99_ms: float
    beside_p99_ms: float
    failed: int
    rows_per_second: float
    sender_late_p99_ms: float


class Served(msgspec.Struct, frozen=True):
    """A server's figures with one model. `closed` and `binary` are keyed `ROWSxCONNECTIONS`.

    `binary` is empty where the server takes no binary tensors. `cpu_seconds` are per million predictions, of all the
    server's processes, by rows a request; they include what the server still does behind its last answer.
    """

    closed: dict[str, Loaded]
    binary: dict[str, Loaded]
    cpu_seconds: dict[int, float]
    beside: Beside


def check_answers(server: Server, port: int, model: Model, plan: Plan) -> None:
    """Hold the server to the right answer in every form that is measured; raises `BenchError`."""
    for rows in plan.sizes:
        check(port, server.one if rows == 1 else server.many, model, rows)
    if server.tensors:
        for rows in plan.tensors:
            check_tensors(port, server.tensors, model, rows)


def closed_loops(
    server: Server, pid: int, port: int, model: Model, plan: Plan, sizes: dict[int, tuple[int, ...]]
) -> tuple[dict[str, Loaded], dict[int, float]]:
    """JSON by rows and connections, as `sizes` has them, and the processor time of some."""
    closed: dict[str, Loaded] = {}
    cpu: dict[int, float] = {}
    for rows, connection_counts in sizes.items():
        call = server.one if rows == 1 else server.many
        bodies = prediction_bodies(server, model, rows)
        for connections in connection_counts:
            is_counted = rows in CPU_ROWS and connections == CPU_CONNECTIONS
            if is_counted:
                wait_until_idle(pid)
            before = cpu_seconds(pid)
            loaded = closed_loop(port, call.path, bodies, connections, plan.seconds, plan.repetitions)
            closed[f"{rows}x{connections}"] = loaded
            say(f"  {server.name}: {rows} rows, {connections} connections: {shown(loaded)}")
            if is_counted:
                wait_until_idle(pid)
                cpu[rows] = (cpu_seconds(pid) - before) / (loaded.answered * rows) * 1e6
                say(f"  {server.name}: {rows} rows: {cpu[rows]:.1f} CPU seconds per million predictions")
    return closed, cpu


def binary_loops(server: Server, port: int, model: Model, plan: Plan) -> dict[str, Loaded]:
    """Binary tensors by rows and connections; nothing where the server takes none."""
    if server.tensors is None:
        return {}
    found = {}
    for rows, connection_counts in plan.tensors.items():
        bodies = tensor_bodies(server, server.tensors, model, rows)
        for connections in connection_counts:
            loaded = closed_loop(port, server.tensors.path, bodies, connections, plan.seconds, plan.repetitions)
            found[f"{rows}x{connections}"] = loaded
            say(f"  {server.name}: {rows} rows, binary, {connections} connections: {shown(loaded)}")
    return found


def steady(server: Server, port: int, model: Model, plan: Plan) -> list[Paced]:
    """Single rows at a steady rate, as often as the plan says."""
    bodies = prediction_bodies(server, model, 1).read_bytes().splitlines()
    return [
        open_loop(port, server.one.path, bodies, STEADY_RATE, plan.steady_seconds)
        for _ in range(plan.steady_repetitions)
    ]


def median_p99(runs: list[Paced]) -> float:
    """In ms."""
    return statistics.median(run.p99_ms for run in runs)


def beside_batches(server: Server, port: int, model: Model, plan: Plan, quiet: list[Paced]) -> Beside:
    """Single rows while another client sends batches of 1,000 on one connection without a pause."""
    with under_load(port, server.many.path, prediction_bodies(server, model, LARGE_ROWS), 1) as stop:
        runs = steady(server, port, model, plan)
        batches = stop()
    beside = Beside(
        rate=STEADY_RATE,
        quiet_p99_ms=median_p99(quiet),
        beside_p99_ms=median_p99(runs),
        failed=sum(run.failed for run in runs),
        rows_per_second=batches.requests / batches.seconds * LARGE_ROWS,
        sender_late_p99_ms=statistics.median(run.sender_late_p99_ms for run in runs),
    )
    change = f"p99 {beside.quiet_p99_ms:.2f} -> {beside.beside_p99_ms:.2f} ms, failed {beside.failed}"
    say(f"  {server.name}: beside batches of {LARGE_ROWS:,} ({beside.rows_per_second:,.0f} rows/s): {change}")
    return beside


def shown(loaded: Loaded) -> str:
    """One measurement in a line of progress."""
    return f"{loaded.per_second:,.0f} requests/s, p50 {loaded.p50_ms:.2f} p99 {loaded.p99_ms:.2f} ms"
