"""docs/reference/benchmarks.md, from the results of one run."""

from collections.abc import Iterable
from pathlib import Path

from harness.features import CONNECTIONS, SIZES, STORES, Lookup
from harness.limits import LARGE_BATCHES, rows_per_second
from harness.machine import LOAD_CORE, SERVER_CORE
from harness.measure import CROWD, Measured
from harness.results import Results

HEAD = """# Benchmarks

This page compares Beacon with what a team would otherwise put into production, on the same model.
It also compares Beacon with its floor: the least that the same server can do with the same model.
`make bench` writes this page; the figures are those of one run.

    make bench                          # everything: about 15 minutes, after a first run that installs the peers
    make bench ARGS=--quick             # under 4 minutes, into benchmarks/.work: not for publishing
    make bench ARGS="--only beacon --only floor"
    make bench ARGS=--http-servers      # only the HTTP servers that could run inference, as decision 16 has them

It needs two cores and Debian's packages `wrk` and `redis-server`, which it installs when it runs as root.
Close everything else first.
[results.json](../../benchmarks/results.json) holds every figure.
"""
OUT_OF_REACH = """
For batches of 1,000 rows, five times the best peer's rows/s is out of reach for a server that keeps its log \
on the same core.
Even the peer's own rows/s is.
Five times is 1.6 us per row; KServe, with scikit-learn, takes 8 us and keeps no log.
`make bench-parts` shows where Beacon's time goes (2026-11-26).
Of 14 us per row for the answer, ONNX Runtime takes 8; parsing, validation, serialization and the spool take 6.
The shipper takes another 12 us, of which SQLite with these indexes needs 9 on a core of its own.
A log with one row per request, instead of one per prediction, was not tried.

ONNX Runtime evaluates the 300 trees as fast as scikit-learn does.
Its session's options, float trees, the order and depth of nodes and the size of a run change that by less than a tenth.
Another algorithm would help: with bit masks of the leaves that each threshold excludes, numpy gave the same \
answers in 2 us per row.
But that would be a model runtime of our own.
The shipper pauses while requests come, and pauses less the more predictions wait.
With 50,000 waiting, batches are answered as fast as they are shipped ([decision \
4](../decisions/0004-the-prediction-log.md)).
"""
READING = """## How to read it

- **Look at the ratios.** Absolute figures move from machine to machine.
- Every server has core {server} to itself and one worker; the load comes from core {load}.
  All serve the same fitted model (`{model}`): the peers with scikit-learn, Beacon and the floor with its ONNX export.
  Before a server is measured, its answers are compared with scikit-learn's own (within 0.001).
  One answer that is not 2xx ends the run.
- Beacon runs as in production: with validation, imputation, prediction log to disk and database, metrics and \
access log.
  The peers impute, and FastAPI checks types; none checks ranges or keeps its predictions.
  FastAPI's access log is off.
  MLServer runs its model without worker processes, FastAPI without its thread pool, MLflow without a \
signature: each is faster that way on one core.
- Closed loop: `wrk` keeps that many connections busy; the figure is the median of the repetitions after a warm-up.
  A closed loop waits for a slow server, so its p99 flatters.
- Open loop: requests leave at a fixed rate, and latency counts from the time when each was due.
  So a stall counts for every request that it delayed.
  "-" is a rate that was not tried, as the server had fallen behind at a lower one.
  The open loop begins 2 s after the closed loop, when the last batches are answered and most of Beacon's log \
is shipped.
- Slow clients: each announces a long body and sends one byte of it every half second.
- Resident: the memory of all processes of the server after the closed loop, with shared pages counted once.
- Environment: the files that the package manager installs, without bytecode caches.
  MB are 2^20 bytes.
- First answer: the time from the start of the process to the first right prediction, with files in the page \
cache; median of the starts.
"""


def write_report(file: Path, results: Results, plot: str) -> None:
    """Write the page; `plot` is the picture's path as seen from it."""
    parts = [
        HEAD,
        _machine(results),
        _limits(results),
        f"![Requests per second, and p99 by rate]({plot})\n",
        _one_row(results.servers),
        _batches(results.servers),
        _open_loop(results.servers),
        _crowd(results.servers),
        _rest(results.servers),
    ]
    if results.features:
        parts.append(_features(results.features))
    parts += [READING.format(model=results.model, server=SERVER_CORE, load=LOAD_CORE), _versions(results)]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(parts))


def _machine(results: Results) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in results.facts.items()) + "\n"


def _limits(results: Results) -> str:
    rows = [(item.what, item.limit, item.measured, "yes" if item.holds else "**no**") for item in results.limits]
    table = "## Promises\n\n" + _table(("", "limit", "measured", "holds"), rows)
    broken = {item.what for item in results.limits if not item.holds}
    return table + OUT_OF_REACH if LARGE_BATCHES in broken else table


def _one_row(servers: dict[str, Measured]) -> str:
    beacon, floor = servers.get("beacon"), servers.get("floor")
    rows = []
    for server in servers.values():
        one, eight = server.closed["1x1"], server.closed["1x8"]
        rows.append(
            (
                server.title,
                f"{one.per_second:,.0f}",
                f"{eight.per_second:,.0f}",
                f"{eight.p50_ms:.2f} / {eight.p99_ms:.2f}",
                f"{beacon.closed['1x8'].per_second / eight.per_second:.1f} x" if beacon else "",
                f"{eight.per_second / floor.closed['1x8'].per_second:.0%}" if floor else "",
            )
        )
    header = ("", "requests/s, 1 connection", "8 connections", "p50 / p99 ms at 8", "Beacon to it", "of the floor")
    return "## One row per request, closed loop\n\n" + _table(header, rows)


def _batches(servers: dict[str, Measured]) -> str:
    beacon = servers.get("beacon")
    rows = []
    for server in servers.values():
        cells = [server.title]
        for size in (100, 1000):
            rate = rows_per_second(server, size)
            cells += [f"{rate:,.0f}", f"{rows_per_second(beacon, size) / rate:.1f} x" if beacon else ""]
        rows.append(tuple(cells))
    header = ("", "rows/s, 100 per request", "Beacon to it", "rows/s, 1,000 per request", "Beacon to it")
    return "## Batches, closed loop, best of 1 and 8 connections\n\n" + _table(header, rows)


def _open_loop(servers: dict[str, Measured]) -> str:
    rates = sorted({paced.rate for server in servers.values() for paced in server.open})
    rows = []
    for server in servers.values():
        by_rate = {paced.rate: paced for paced in server.open}
        cells = [server.title]
        for rate in rates:
            paced = by_rate.get(rate)
            cells.append("-" if paced is None else f"{paced.p99_ms:.2f}" if paced.held else "fell behind")
        rows.append(tuple(cells))
    return "## p99 in ms by requests/s, one row, open loop\n\n" + _table(("", *(f"{rate:,}" for rate in rates)), rows)


def _crowd(servers: dict[str, Measured]) -> str:
    rows = [
        (
            server.title,
            f"{server.crowd.per_second:,.0f}",
            f"{server.crowd.p50_ms:.0f}",
            f"{server.crowd.p99_ms:.0f}",
            str(server.crowd.lost),
        )
        for server in servers.values()
    ]
    return f"## {CROWD} clients at once, one row, closed loop\n\n" + _table(
        ("", "requests/s", "p50 ms", "p99 ms", "lost"), rows
    )


def _rest(servers: dict[str, Measured]) -> str:
    rows = []
    for server in servers.values():
        slow = server.slow
        rows.append(
            (
                server.title,
                f"{server.first_answer_seconds:.2f}",
                f"{server.memory.total:.0f}",
                "" if server.environment_mb is None else f"{server.environment_mb:.0f}",
                f"{slow.quiet_p99_ms:.2f} / {slow.slow_p99_ms:.2f}",
                str(slow.failed),
            )
        )
    slow = next(iter(servers.values())).slow
    header = (
        "",
        "first answer, s",
        "resident, MB",
        "environment, MB",
        f"p99 ms at {slow.rate}/s, quiet / beside {slow.clients} slow clients",
        "failed",
    )
    return "## Start, size, slow clients\n\n" + _table(header, rows)


def _features(features: Lookup) -> str:
    rows = []
    for store in STORES:
        ours = features.of("beacon", store)
        for looked in (item for item in features.looked if item.store == store):
            cells = [looked.title, store, f"{looked.first_answer_seconds:.1f}"]
            for entities in SIZES:
                loaded = looked.closed[entities]
                ratio = ours.closed[entities].per_second / loaded.per_second if loaded.per_second else float("inf")
                cells += [f"{loaded.per_second:,.0f} ({ratio:.1f} x)", f"{loaded.p50_ms:.2f} / {loaded.p99_ms:.2f}"]
            rows.append((*cells, f"{sum(loaded.lost for loaded in looked.closed.values())}"))
    keys = ("1 entity", "100 entities")
    header = ("", "store", "first answer, s", *(part for key in keys for part in (key, "p50 / p99 ms")), "lost")
    text = (
        f"The table has requests/s for 12 features of an entity, with {CONNECTIONS} connections, "
        "on the same repository and store.\n"
        "The ratio of Beacon to each row is in brackets.\n"
        "By default, `feast serve` restarts its worker every 1,000 requests; its second row is without that.\n"
        "The promises are compared with the first row, which is what its users run.\n\n"
    )
    close = (
        f"\nA prediction on one connection, p50: {features.features_p50_ms:.2f} ms by its features, "
        f"{features.entity_p50_ms:.2f} ms by its entity (both services on one core).\n"
    )
    return "## Feature serving beside `feast serve`\n\n" + text + _table(header, rows) + close


def _versions(results: Results) -> str:
    versions = {server.title.strip("*"): server.versions for server in results.servers.values()}
    if results.features:
        versions["feature serving"] = results.features.versions
    lines = (f"- {title}: {', '.join(map(' '.join, of.items()))}" for title, of in versions.items())
    return "## Versions\n\n" + "\n".join(lines) + "\n"


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"
