"""What a request costs the running server: `make bench-requests` prints processor time, in microseconds.

The servers of `make bench`, with sockets, access log and prediction log, under wrk. Processor time, unlike requests per
second, says the same beside other work. It is split by thread: the event loop answers, the other threads ship, and what
the process of the log ships after the last answer counts. `--only beacon --case json-1000` and the like measure less.
"""

import argparse
import sys
import time
import urllib.request
from pathlib import Path
from urllib.error import URLError

ROOT = Path(__file__).parents[1]
sys.path[:0] = map(str, (ROOT, ROOT / "benchmarks"))

from harness.asking import prediction_bodies, serving, tensor_bodies  # noqa: E402
from harness.closedloop import Bodies, wrk  # noqa: E402
from harness.machine import LOGS  # noqa: E402
from harness.model import Model, make_models  # noqa: E402
from harness.processes import family, wait_until_idle  # noqa: E402
from harness.servers import SERVERS, Server  # noqa: E402

CONNECTIONS, SECONDS, ROUNDS = 8, 2.0, 3
CASES = {"json-1": 1, "json-100": 100, "json-1000": 1000, "binary-1000": 1000}
SPOOL = "beacon_prediction_log_spool_records "
SHIP_SECONDS = 60


def main() -> None:
    """Measure each case and print it."""
    options = _options()
    LOGS.mkdir(parents=True, exist_ok=True)
    for model in make_models().compared.values():
        for name in options.only:
            server = SERVERS[name](model)
            with serving(server, model) as (pid, port, _):
                for case in options.case:
                    if case.startswith("binary") and server.tensors is None:
                        continue
                    _measure(server, model, pid, port, case)


def _measure(server: Server, model: Model, pid: int, port: int, case: str) -> None:
    rows = CASES[case]
    path, bodies = _sent(server, model, case)
    wrk(port, path, bodies, CONNECTIONS, SECONDS)
    found = []
    for _ in range(ROUNDS):
        _settle(server, pid, port)
        before = _seconds(pid)
        counted = wrk(port, path, bodies, CONNECTIONS, SECONDS)
        _settle(server, pid, port)
        answering, others = (after - earlier for after, earlier in zip(_seconds(pid), before, strict=True))
        found.append((answering + others, answering, others, counted.requests))
    whole, answering, others, requests = min(found, key=lambda each: each[0] / each[3])
    per = 1e6 / requests / rows
    print(
        f"{model.title:28} {server.name:8} {case:12} {whole * per:7.1f} us a row: "
        f"{answering * per:7.1f} event loop, {others * per:6.1f} other threads ({requests} requests)",
        flush=True,
    )


def _sent(server: Server, model: Model, case: str) -> tuple[str, Bodies]:
    rows = CASES[case]
    if case.startswith("binary") and server.tensors is not None:
        return server.tensors.path, tensor_bodies(server, server.tensors, model, rows)
    return (server.one if rows == 1 else server.many).path, prediction_bodies(server, model, rows)


def _settle(server: Server, pid: int, port: int) -> None:
    """Wait until all is shipped."""
    if server.name == "beacon":
        end = time.monotonic() + SHIP_SECONDS
        while time.monotonic() < end and _waiting(port):
            time.sleep(0.1)
    wait_until_idle(pid)


def _waiting(port: int) -> float:
    """Records that are not shipped yet; one, where the log's process does not answer yet."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port + 2}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
    except URLError:
        return 1
    return sum(float(line.removeprefix(SPOOL)) for line in lines if line.startswith(SPOOL))


def _seconds(pid: int) -> tuple[float, float]:
    """Processor time so far of the processes' first threads, which answer, and of all others."""
    first = others = 0.0
    for member in family(pid):
        for task in Path(f"/proc/{member}/task").iterdir():
            took = int((task / "schedstat").read_text().split()[0]) / 1e9
            if task.name == str(member):
                first += took
            else:
                others += took
    return first, others


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=("beacon", "floor"), default=("beacon", "floor"))
    parser.add_argument("--case", nargs="+", choices=CASES, default=tuple(CASES))
    return parser.parse_args()


if __name__ == "__main__":
    main()
