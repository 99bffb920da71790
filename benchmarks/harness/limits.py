"""The promises about speed and size, and whether a run keeps them."""

from collections.abc import Iterator

import msgspec

from harness.access import AccessCost
from harness.closedloop import Loaded
from harness.features import STORES, Lookup
from harness.measure import Measured
from harness.model import PLAIN, PRODUCT
from harness.plan import LARGE_ROWS
from harness.served import Served
from harness.servers import PEER_NAMES

SINGLE_ROWS = {PRODUCT: {"fastapi": (14, 20), "mlserver": (12, 20)}, PLAIN: {"fastapi": (8, 12), "mlserver": (10, 12)}}
"""Requests/s of single rows, as multiples of each peer's: what must hold, and the aim."""
LEAST_OF_FLOOR = 0.6
MOST_OF_PEERS_P99 = 1 / 4
BATCHES = {100: (1.5, 2), 1000: (1.2, 2)}
"""Rows/s of JSON batches, as multiples of the best peer's, by rows a request: what must hold, and the aim."""
BINARY = 2.5
BESIDE_BATCHES = 5
SLOW = 2


class Limit(msgspec.Struct, frozen=True):
    """One promise, what was measured, and whether it holds; `model` is empty where it does not depend on the model."""

    model: str
    what: str
    limit: str
    measured: str
    holds: bool


def limits(
    models: dict[str, str],
    servers: dict[str, Measured],
    features: Lookup | None,
    families: dict[str, dict[str, Loaded]],
    access: tuple[AccessCost, ...],
) -> tuple[Limit, ...]:
    """Every promise that this run can judge; `models` are titles by name."""
    found: list[Limit] = []
    if "beacon" in servers:
        for name, title in models.items():
            found += _of_model(name, title, servers)
        found += _of_server(servers["beacon"])
    for family, loads in families.items():
        found += _of_family(family, loads)
    for cost in access:
        text = f"at most {cost.most:g} us a request"
        found.append(Limit("", cost.what, text, f"{cost.microseconds:.1f} us", cost.microseconds <= cost.most))
    return (*found, *(_features(features) if features else ()))


def rows_per_second(served: Served, rows: int, binary: bool = False) -> float | None:
    """Rows/s in requests of `rows`, at the server's best number of connections; None where it was not measured."""
    loads = served.binary if binary else served.closed
    rates = [loaded.per_second for key, loaded in loads.items() if key.startswith(f"{rows}x")]
    return rows * max(rates) if rates else None


def best_peer(servers: dict[str, Measured], model: str, rows: int, binary: bool = False) -> float | None:
    """The most rows/s that any peer reaches; None where none was measured."""
    peers = [servers[name].models[model] for name in PEER_NAMES if name in servers]
    rates = [rate for peer in peers if (rate := rows_per_second(peer, rows, binary)) is not None]
    return max(rates, default=None)


def _of_model(name: str, title: str, servers: dict[str, Measured]) -> Iterator[Limit]:
    beacon = servers["beacon"].models[name]
    one = beacon.closed["1x8"]
    single = "one row, 8 connections, requests/s"
    for peer, (factor, aim) in SINGLE_ROWS[name].items():
        if peer in servers:
            ratio = one.per_second / servers[peer].models[name].closed["1x8"].per_second
            text = f"at least {factor} x {servers[peer].title} (aim: {aim} x)"
            yield Limit(title, single, text, f"{ratio:.1f} x", ratio >= factor)
    if "floor" in servers:
        share = one.per_second / servers["floor"].models[name].closed["1x8"].per_second
        text = f"at least {LEAST_OF_FLOOR:.0%} of the floor"
        yield Limit(title, single, text, f"{share:.0%}", share >= LEAST_OF_FLOOR)
    peers = [servers[peer].models[name] for peer in PEER_NAMES if peer in servers]
    if peers:
        best = min(peer.closed["1x8"].p99_ms for peer in peers)
        text = f"{one.p99_ms:.2f} ms, the best peer's {best:.2f} ms"
        holds = one.p99_ms <= best * MOST_OF_PEERS_P99
        yield Limit(title, "one row, 8 connections, p99", "at most a quarter of the best peer's", text, holds)
    for rows, (least, aim) in BATCHES.items():
        text = f"at least {least:g} x the best peer (aim: {aim:g} x)"
        yield from _ratio(title, f"{rows:,} rows per request, JSON, rows/s", text, least, servers, name, rows)
    text = f"at least {BINARY:g} x the best peer that takes them"
    what = f"{LARGE_ROWS:,} rows per request, binary tensors, rows/s"
    yield from _ratio(title, what, text, BINARY, servers, name, LARGE_ROWS, binary=True)
    beside = beacon.beside
    yield Limit(
        title,
        f"p99 of single rows beside batches of {LARGE_ROWS:,}",
        f"at most {BESIDE_BATCHES} x the quiet p99, none failed",
        _change(beside.beside_p99_ms, beside.quiet_p99_ms, beside.failed),
        beside.beside_p99_ms <= BESIDE_BATCHES * beside.quiet_p99_ms and not beside.failed,
    )


def _of_family(family: str, loads: dict[str, Loaded]) -> Iterator[Limit]:
    """What the plain boosting promises for single rows, by which a family is offered."""
    one = loads["beacon"]
    for peer, (factor, _) in SINGLE_ROWS[PLAIN].items():
        if peer in loads:
            ratio = one.per_second / loads[peer].per_second
            what = "one row, 8 connections, requests/s"
            yield Limit(family, what, f"at least {factor} x {peer}", f"{ratio:.1f} x", ratio >= factor)


def _ratio(
    title: str,
    what: str,
    text: str,
    factor: float,
    servers: dict[str, Measured],
    model: str,
    rows: int,
    binary: bool = False,
) -> Iterator[Limit]:
    """Beacon's rows/s to the best peer's, where both were measured."""
    ours = rows_per_second(servers["beacon"].models[model], rows, binary)
    best = best_peer(servers, model, rows, binary)
    if ours is not None and best is not None:
        yield Limit(title, what, text, f"{ours / best:.1f} x", ours / best >= factor)


def _of_server(beacon: Measured) -> Iterator[Limit]:
    yield _at_most("first answer after start", beacon.first_answer_seconds, 1.5, "s")
    yield _at_most("resident memory under load", beacon.memory.total, 160, "MB")
    if beacon.environment_mb is not None:
        yield _at_most("environment", beacon.environment_mb, 200, "MB")
    slow = beacon.slow
    yield Limit(
        "",
        f"p99 beside {slow.clients} slow clients",
        f"at most {SLOW} x the quiet p99, none failed",
        _change(slow.slow_p99_ms, slow.quiet_p99_ms, slow.failed),
        slow.slow_p99_ms <= SLOW * slow.quiet_p99_ms and not slow.failed,
    )


def _change(p99_ms: float, quiet_ms: float, failed: int) -> str:
    return f"{p99_ms / quiet_ms:.2f} x ({quiet_ms:.2f} to {p99_ms:.2f} ms), {failed} failed"


def _features(features: Lookup) -> Iterator[Limit]:
    for store in STORES:
        ours, theirs = (features.of(name, store) for name in ("beacon", "feast"))
        one, feast = ours.closed[1], theirs.closed[1]
        ratio = one.per_second / feast.per_second
        where = f"feature lookup, {store}"
        text = "at least 8 x `feast serve`"
        yield Limit("", f"{where}, 1 entity, requests/s", text, f"{ratio:.1f} x", ratio >= 8)
        text = f"{one.p99_ms:.2f} ms, `feast serve` {feast.p99_ms:.1f} ms"
        holds = one.p99_ms <= feast.p99_ms / 20
        yield Limit("", f"{where}, 1 entity, p99", "at most 1/20 of `feast serve`", text, holds)
        ratio = ours.closed[100].per_second / theirs.closed[100].per_second
        text = "at least 4 x `feast serve`"
        yield Limit("", f"{where}, 100 entities, requests/s", text, f"{ratio:.1f} x", ratio >= 4)
        yield _at_most(f"{where}, first answer after start", ours.first_answer_seconds, 4, "s")
    yield _at_most("prediction by entity, p50 above by features", features.extra_p50_ms, 1.5, "ms")


def _at_most(what: str, value: float, limit: float, unit: str) -> Limit:
    digits = 2 if value < 10 else 0
    return Limit("", what, f"at most {limit:g} {unit}", f"{value:.{digits}f} {unit}", value <= limit)
