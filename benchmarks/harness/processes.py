"""Start a server on its core, find its memory, and stop it whatever happens."""

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import msgspec

from harness.machine import LOGS, SERVER_CORE

STOP_SECONDS = 10
IDLE_SHARE, IDLE_PROBE_SECONDS, IDLE_WAIT_SECONDS = 0.1, 0.25, 5.0
"""A server is idle when it takes less than this share of a core over a probe; the wait for that has an end."""
PORTS = 3


class Memory(msgspec.Struct, frozen=True):
    """MB (2^20 bytes) of a server's processes: shared pages counted once (`total`), and its largest process."""

    total: float
    largest: float


def free_port() -> int:
    """A port of 127.0.0.1 that is free, and so are the two after it, which some servers take for themselves.

    It lies below the ports that the kernel gives to clients: there will be thousands of those.
    """
    while True:
        port = random.randrange(10_000, 30_000, PORTS)
        with suppress(OSError), ExitStack() as probes:
            for number in range(port, port + PORTS):
                probes.enter_context(socket.socket()).bind(("127.0.0.1", number))
            return port


@contextmanager
def running(
    name: str, command: list[str], environment: dict[str, str], folder: Path, core: int = SERVER_CORE
) -> Generator[int]:
    """Run `command` pinned to `core` as a session of its own; gives its pid; ends the whole session on the way out."""
    with (LOGS / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), *command],
            cwd=folder,
            env={**os.environ, **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        yield process.pid
    finally:
        _stop(process)


def memory(pid: int) -> Memory:
    """What the process and all it started keep resident."""
    sizes = [_smaps(member) for member in family(pid)]
    return Memory(total=sum(pss for pss, _ in sizes), largest=max((rss for _, rss in sizes), default=0.0))


def cpu_seconds(pid: int) -> float:
    """Processor time that the process and all it started have taken so far."""
    fields = [_stat(member) for member in family(pid)]
    return sum(int(of[11]) + int(of[12]) for of in fields if of) / os.sysconf("SC_CLK_TCK")


def wait_until_idle(pid: int) -> None:
    """Until the server is done with what it does behind its answers, such as shipping a log."""
    end = time.monotonic() + IDLE_WAIT_SECONDS
    while time.monotonic() < end:
        before = cpu_seconds(pid)
        time.sleep(IDLE_PROBE_SECONDS)
        if cpu_seconds(pid) - before < IDLE_SHARE * IDLE_PROBE_SECONDS:
            return


def largest_child(pid: int) -> int:
    """The descendant with the most memory: the worker of a server that has a process to watch over it."""
    return max((member for member in family(pid) if member != pid), key=lambda member: _smaps(member)[1])


def ended(pid: int) -> bool:
    """Whether the process is gone, or only waits for its exit code to be read."""
    fields = _stat(pid)
    return not fields or fields[0] == "Z"


def _stop(process: "subprocess.Popen[bytes]") -> None:
    # Some servers start their workers in sessions of their own, and leave them behind.
    members = family(process.pid)
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:
        for member, born in members.items():
            if _born(member) == born:
                os.kill(member, signal.SIGKILL)
        process.wait()


def family(ancestor: int) -> dict[int, str]:
    """The process and its descendants, each with the time it was born."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = {}, [ancestor]
    while waiting:
        pid = waiting.pop()
        found[pid] = _born(pid)
        waiting += children.get(pid, [])
    return found


def _born(pid: int) -> str:
    fields = _stat(pid)
    return fields[19] if fields else "never"


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; none when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _smaps(pid: int) -> tuple[float, float]:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return 0.0, 0.0
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return kilobytes["Pss"] / 1024, kilobytes["Rss"] / 1024
