"""Closed loop: wrk keeps a fixed number of connections busy, each sending its next request once answered."""

import signal
import statistics
import subprocess
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from harness.machine import LOAD_CORE, BenchError
from harness.tensors import BinaryBodies

SCRIPT = Path(__file__).with_name("load.lua")
Bodies = Path | BinaryBodies
"""A file of JSON bodies, one a line, or one of binary tensors."""
LONGEST_SECONDS = 600


class Loaded(msgspec.Struct, frozen=True):
    """Medians over the repetitions; `runs` are the requests/s of each, `lost` the requests that got no good answer.

    `answered` counts the good answers of all runs, with those of the warm-up.
    """

    per_second: float
    p50_ms: float
    p99_ms: float
    runs: tuple[float, ...]
    lost: int = 0
    answered: int = 0


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
    bodies: Bodies,
    connections: int,
    seconds: float,
    repetitions: int,
    may_lose: bool = False,
    may_fail: bool = False,
) -> Loaded:
    """Warm up, then measure.

    An answer that is not 2xx, unless `may_fail`, or, unless `may_lose`, none at all is a `BenchError`.
    """
    warm = wrk(port, path, bodies, connections, max(1.0, seconds / 2), may_lose, may_fail)
    runs = [wrk(port, path, bodies, connections, seconds, may_lose, may_fail) for _ in range(repetitions)]
    rates = tuple(round((run.requests - run.failed) / run.seconds, 1) for run in runs)
    return Loaded(
        per_second=statistics.median(rates),
        p50_ms=statistics.median(run.p50_ms for run in runs),
        p99_ms=statistics.median(run.p99_ms for run in runs),
        runs=rates,
        lost=sum(run.lost + run.failed for run in runs),
        answered=sum(run.requests - run.failed for run in (warm, *runs)),
    )


def wrk(
    port: int,
    path: str,
    bodies: Bodies,
    connections: int,
    seconds: float,
    may_lose: bool = False,
    may_fail: bool = False,
) -> Counted:
    """Run wrk once; an answer that is not allowed is a `BenchError`."""
    command = _command(port, path, bodies, connections, seconds)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return _counted(done.stdout, done.stderr, path, connections, may_lose, may_fail)


@contextmanager
def under_load(port: int, path: str, bodies: Bodies, connections: int) -> Generator[Callable[[], Counted]]:
    """A client that asks without a pause meanwhile; what is given ends it, and returns what it counted.

    It may have got no answer at all: that is a figure of a server that starves it.
    """
    process = subprocess.Popen(
        _command(port, path, bodies, connections, LONGEST_SECONDS),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    def stop() -> Counted:
        process.send_signal(signal.SIGINT)  # wrk ends, and says what it counted
        return _counted(*process.communicate(timeout=30), path, connections, may_lose=True)

    try:
        yield stop
    finally:
        process.kill()
        process.communicate()


def _command(port: int, path: str, bodies: Bodies, connections: int, seconds: float) -> list[str]:
    options = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s", "-s", str(SCRIPT)]
    sent = [str(bodies)]
    if isinstance(bodies, BinaryBodies):
        sent = [str(bodies.file), str(bodies.head_bytes), str(bodies.body_bytes)]
    return ["taskset", "-c", str(LOAD_CORE), "wrk", *options, f"http://127.0.0.1:{port}", "--", path, *sent]


def _counted(
    output: str, errors: str, path: str, connections: int, may_lose: bool = False, may_fail: bool = False
) -> Counted:
    _, found, line = output.partition("RESULT ")
    if not found:
        raise BenchError(f"wrk failed: {errors.strip() or output.strip()}")
    result = msgspec.json.decode(line, type=Counted)
    if (result.failed and not may_fail) or (not may_lose and (result.lost or not result.requests)):
        told = f"{result.requests} answers, {result.failed} of them not 2xx, {result.lost} requests lost"
        raise BenchError(f"{path}, {connections} connections, {result.seconds:.1f} s: {told}")
    if not result.requests:
        result.p50_ms = result.p99_ms = result.seconds * 1e3
    return result
