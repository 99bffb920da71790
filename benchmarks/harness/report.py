"""docs/reference/benchmarks.md, from the results of one run."""

from collections.abc import Iterable
from pathlib import Path

from harness.access import AccessCost
from harness.closedloop import Loaded
from harness.features import CONNECTIONS, SIZES, STORES, Lookup
from harness.limits import rows_per_second
from harness.machine import LOAD_CORE, SERVER_CORE
from harness.measure import Measured
from harness.model import PLAIN, PRODUCT
from harness.plan import CPU_ROWS, CROWD, LARGE_ROWS, STEADY_RATE
from harness.results import Results

HEAD = """# Benchmarks

This page compares Beacon with what a team would otherwise put into production, on the same models.
It also compares Beacon with its floor: the least that the same server can do with the same model.
`make bench` writes this page; the figures are those of one run.

    make bench                          # everything: about 25 minutes, after a first run that installs the peers
    make bench ARGS=--quick             # about 7 minutes, into benchmarks/.work: not for publishing
    make bench ARGS="--only beacon --only floor"
    make bench ARGS=--http-servers      # only the HTTP servers that could run inference (decision 16): 10 minutes

It needs two cores and Debian's packages `wrk` and `redis-server`, which it installs when it runs as root.
Close everything else first.
[results.json](../../benchmarks/results.json) holds every figure.
"""
BATCHES_TEXT = """
Beacon's batches are logged, too: 10 us per row, in the log's process, which has what inference leaves of the core.
Peers keep no log.
The model is answered by bit masks ([decision 19](../decisions/0019-batches-by-bit-masks.md)), compiled where there is \
a C compiler ([decision 43](../decisions/0043-trees-by-compiled-code.md)).
`make bench-requests` shows what a row costs of the processor, and `make bench-parts` where that goes.

What the run of 2026-12-01 does not reach, and what stands before it, all with the plain boosting:

- Single rows, 10 x MLServer: that is more than the floor itself, a bare ASGI function with the same model.
  8 x FastAPI would be 72 % of the floor.
- 60 % of the floor: in `make bench-requests`, on a quiet machine, the floor spends 40 us per request, and Beacon \
  107 us in its event loop and 21 us in the log's process, which shares the core.
- p99: a quarter of the best peer's is less than a fifth of the floor's own.
- 1,000 rows in JSON, 1.2 x the best peer: 1.15 x, which is 1.8 times the floor.
  The peer reads columns by NumPy and answers numbers alone; Beacon's answer has an interval per row, and each row is \
  checked and kept.

The machine's speed changed during that run: with the blend, FastAPI came out at 0.6 of KServe and MLServer, which is \
as fast as they are in other runs.
So read 13 x there, and not 22.5 x.
"""
"""Prose about batches, below the promises."""
READING = """## How to read it

- **Look at the ratios.** Absolute figures move from machine to machine.
- Every server has core {server} to itself and one worker; the load comes from core {load}.
  All serve the same fitted models: the peers with scikit-learn, Beacon and the floor with the exported package.
  Before a server is measured, its answers are compared with scikit-learn's own, in every form that is measured \
(within 0.0001 of their spread).
  One answer that is not 2xx ends the run, except with 500 clients at once: a server may shed some of these, and they \
are counted.
- Two models: {product} is what Beacon trains for this product; {plain} is scikit-learn's \
`GradientBoostingRegressor` with 300 trees of depth 4, which a team would fit first.
  Start, open loop, crowd, slow clients and sizes are measured with the first.
- Beacon runs as in production: with validation, imputation, prediction log to disk and database, metrics and \
access log.
  The peers impute, and FastAPI checks types; none checks ranges or keeps its predictions.
  FastAPI's access log is off.
  MLServer runs its model without worker processes, FastAPI without its thread pool, MLflow without a \
signature: each is faster that way on one core.
- Closed loop: `wrk` keeps that many connections busy; the figure is the median of the repetitions after a warm-up.
  A closed loop waits for a slow server, so its p99 flatters.
- Binary tensors: requests and answers of the Open Inference Protocol in FP64, without JSON numbers.
  KServe's REST API takes them; MLServer takes them by gRPC alone, the others not at all.
- Beside batches: single rows at a fixed rate (open loop), while another client sends batches of 1,000 rows on one \
connection without a pause; the last column is what that client got meanwhile.
- CPU: processor time of all processes of the server for the closed loop with 8 connections, until the server is \
idle again, per million predictions.
  So it includes work behind the answers, such as shipping Beacon's log.
- Open loop: requests leave at a fixed rate, and latency counts from the time when each was due.
  So a stall counts for every request that it delayed.
  "-" is a rate that was not tried, as the server had fallen behind at a lower one.
  It begins when the server has nothing left to do from before, at most 5 s later; so do the steady single rows.
- Slow clients: each announces a long body and sends one byte of it every half second.
- Resident: the memory of all processes of the server after the closed loop, with shared pages counted once.
- Environment: the files that the package manager installs, without bytecode caches.
  MB are 2^20 bytes.
- First answer: the time from the start of the process to the first right prediction, with files in the page \
cache; median of the starts.
"""


def write_report(file: Path, results: Results, plot: str) -> None:
    """Write the page; `plot` is the picture's path as seen from it."""
    servers, models = results.servers, results.models
    parts = [
        HEAD,
        _machine(results),
        _limits(results),
        f"![Requests per second, and p99 by rate]({plot})\n",
        "## One row per request, closed loop\n",
        *(_one_row(servers, name, title) for name, title in models.items()),
        "## Rows/s of batches, closed loop\n",
        "With 8 connections; 1,000 rows in JSON with the better of 1 and 8.\n"
        "The ratio of Beacon to each row is in brackets.\n",
        *(_batches(servers, name, title) for name, title in models.items()),
        f"## p99 of single rows beside batches of {LARGE_ROWS:,}\n",
        *(_beside(servers, name, title) for name, title in models.items()),
        _cpu(servers, models),
        _open_loop(servers),
        _crowd(servers),
        _rest(servers),
    ]
    if results.families:
        parts.append(_families(results.families))
    if results.access:
        parts.append(_access(results.access))
    if results.features:
        parts.append(_features(results.features))
    reading = READING.format(server=SERVER_CORE, load=LOAD_CORE, product=models[PRODUCT], plain=models[PLAIN])
    parts += [reading, _versions(results)]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(part for part in parts if part))


def _machine(results: Results) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in results.facts.items()) + "\n"


def _limits(results: Results) -> str:
    rows = [
        (item.model or "any", item.what, item.limit, item.measured, "yes" if item.holds else "**no**")
        for item in results.limits
    ]
    return "## Promises\n\n" + _table(("model", "", "limit", "measured", "holds"), rows) + BATCHES_TEXT


def _one_row(servers: dict[str, Measured], model: str, title: str) -> str:
    loads = {name: server.models[model].closed for name, server in servers.items()}
    beacon, floor = loads.get("beacon"), loads.get("floor")
    single = ["1x1"] if all("1x1" in closed for closed in loads.values()) else []
    rows = []
    for name, closed in loads.items():
        eight = closed["1x8"]
        rows.append(
            (
                servers[name].title,
                *(f"{closed[key].per_second:,.0f}" for key in single),
                f"{eight.per_second:,.0f}",
                f"{eight.p50_ms:.2f} / {eight.p99_ms:.2f}",
                f"{beacon['1x8'].per_second / eight.per_second:.1f} x" if beacon else "",
                f"{eight.per_second / floor['1x8'].per_second:.0%}" if floor else "",
            )
        )
    header = (
        "",
        *("requests/s, 1 connection" for _ in single),
        "requests/s, 8 connections",
        "p50 / p99 ms at 8",
        "Beacon to it",
        "of the floor",
    )
    return f"### With {title}\n\n" + _table(header, rows)


def _families(families: dict[str, dict[str, Loaded]]) -> str:
    names = list(dict.fromkeys(name for loads in families.values() for name in loads))
    rows = []
    for family, loads in families.items():
        beacon = loads["beacon"].per_second
        cells = [
            f"{loads[name].per_second:,.0f} ({beacon / loads[name].per_second:.1f} x)" if name in loads else "-"
            for name in names
        ]
        rows.append((family, *cells, f"{loads['beacon'].p99_ms:.2f}"))
    text = (
        "Requests/s of one row at 8 connections, with one model of each family, as the search tries it first.\n"
        "The ratio of Beacon to each server is in brackets.\n"
        '"-" is a model that the peer cannot load with scikit-learn alone.\n\n'
    )
    return "## Each family that the search may choose\n\n" + text + _table(("", *names, "Beacon's p99 ms"), rows)


def _access(costs: tuple[AccessCost, ...]) -> str:
    rows = [
        (cost.what, f"{cost.microseconds:.1f}", "" if cost.first is None else f"{cost.first:.1f}", f"{cost.most:g}")
        for cost in costs
    ]
    text = "Processor time of the check of a request's key or token, in microseconds.\n\n"
    header = ("", "us a request", "the first time", "limit")
    return "## Knowing a client\n\n" + text + _table(header, rows)


def _batches(servers: dict[str, Measured], model: str, title: str) -> str:
    columns = [(10, False), (100, False), (1000, False), (100, True), (1000, True)]
    served = {name: server.models[model] for name, server in servers.items()}
    rows = []
    for name, own in served.items():
        cells = [servers[name].title]
        for size, binary in columns:
            rate = rows_per_second(own, size, binary)
            ours = rows_per_second(served["beacon"], size, binary) if "beacon" in served else None
            ratio = f" ({ours / rate:.1f} x)" if ours and rate else ""
            cells.append("-" if rate is None else f"{rate:,.0f}{ratio}")
        rows.append(tuple(cells))
    header = ("", *(f"{size:,} per request, {'binary' if binary else 'JSON'}" for size, binary in columns))
    return f"### With {title}\n\n" + _table(header, rows)


def _beside(servers: dict[str, Measured], model: str, title: str) -> str:
    rows = []
    for server in servers.values():
        of = server.models[model].beside
        ratio = f"{of.beside_p99_ms / of.quiet_p99_ms:.1f} x"
        figures = (f"{of.quiet_p99_ms:.2f}", f"{of.beside_p99_ms:.2f}", ratio, str(of.failed))
        rows.append((server.title, *figures, f"{of.rows_per_second:,.0f}"))
    header = ("", f"p99 ms at {STEADY_RATE}/s, quiet", "beside batches", "ratio", "failed", "rows/s of the batches")
    return f"### With {title}\n\n" + _table(header, rows)


def _cpu(servers: dict[str, Measured], models: dict[str, str]) -> str:
    columns = [(name, size) for name in models for size in CPU_ROWS]
    rows = [
        (server.title, *(f"{server.models[name].cpu_seconds[size]:.1f}" for name, size in columns))
        for server in servers.values()
    ]
    header = ("", *(f"{models[name]}, {size:,} per request" for name, size in columns))
    return "## CPU seconds per million predictions\n\n" + _table(header, rows)


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
        ("", "good answers/s", "p50 ms", "p99 ms", "shed or lost"), rows
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
