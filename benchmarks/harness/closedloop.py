"""Closed loop: wrk keeps a fixed number of connections busy, each sending its next request once answered."""

import statistics
import subprocess
from pathlib import Path

import msgspec

from harness.machine import LOAD_CORE, BenchError

SCRIPT = Path(__file__).with_name("load.lua")


class Loaded(msgspec.Struct, frozen=True):
    """Medians over the repetitions; `runs` are the requests/s of each, `lost` the requests that got no good answer."""

    per_second: float
    p50_ms: float
    p99_ms: float
    runs: tuple[float, ...]
    lost: int = 0


class Counted(msgspec.Struct):
    """What wrk counted in one run."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    failed: int
    lost: int


def closed_loop(
    port: int,
    path: str,
    bodies: Path,
    connections: int,
    seconds: float,
    repetitions: int,
    may_lose: bool = False,
    may_fail: bool = False,
) -> Loaded:
    """Warm up, then measure.

    An answer that is not 2xx, unless `may_fail`, or, unless `may_lose`, none at all is a `BenchError`.
    """
    wrk(port, path, bodies, connections, max(1.0, seconds / 2), may_lose, may_fail)
    runs = [wrk(port, path, bodies, connections, seconds, may_lose, may_fail) for _ in range(repetitions)]
    rates = tuple(round((run.requests - run.failed) / run.seconds, 1) for run in runs)
    return Loaded(
        per_second=statistics.median(rates),
        p50_ms=statistics.median(run.p50_ms for run in runs),
        p99_ms=statistics.median(run.p99_ms for run in runs),
        runs=rates,
        lost=sum(run.lost + run.failed for run in runs),
    )


def wrk(
    port: int,
    path: str,
    bodies: Path,
    connections: int,
    seconds: float,
    may_lose: bool = False,
    may_fail: bool = False,
) -> Counted:
    """Run wrk once; an answer that is not allowed is a `BenchError`."""
    options = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s", "-s", str(SCRIPT)]
    command = ["taskset", "-c", str(LOAD_CORE), "wrk", *options, f"http://127.0.0.1:{port}", "--", path, str(bodies)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    _, found, line = done.stdout.partition("RESULT ")
    if not found:
        raise BenchError(f"wrk failed: {done.stderr.strip() or done.stdout.strip()}")
    result = msgspec.json.decode(line, type=Counted)
    if (result.failed and not may_fail) or (not may_lose and (result.lost or not result.requests)):
        told = f"{result.requests} answers, {result.failed} of them not 2xx, {result.lost} requests lost"
        raise BenchError(f"{path}, {connections} connections, {seconds:g} s: {told}")
    if not result.requests:
        result.p50_ms = result.p99_ms = result.seconds * 1e3
    return result
