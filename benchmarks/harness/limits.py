"""The promises about speed and size, and whether a run keeps them."""

from collections.abc import Iterator

import msgspec

from harness.features import STORES, Lookup
from harness.measure import Measured
from harness.servers import PEER_NAMES

LARGE_BATCHES = "1,000 rows a request, rows/s"


class Limit(msgspec.Struct, frozen=True):
    """One promise, what was measured, and whether it holds."""

    what: str
    limit: str
    measured: str
    holds: bool


def limits(servers: dict[str, Measured], features: Lookup | None) -> tuple[Limit, ...]:
    """Every promise that this run can judge."""
    return (*_inference(servers), *(_features(features) if features else ()))


def best_peer_rows(servers: dict[str, Measured], rows: int) -> float:
    """The most rows/s that any peer reaches with batches of `rows`, at its best number of connections."""
    return max(rows_per_second(servers[name], rows) for name in PEER_NAMES if name in servers)


def rows_per_second(server: Measured, rows: int) -> float:
    """Rows/s in batches of `rows`, at the server's best number of connections."""
    return rows * max(loaded.per_second for key, loaded in server.closed.items() if key.startswith(f"{rows}x"))


def _inference(servers: dict[str, Measured]) -> Iterator[Limit]:
    if "beacon" not in servers:
        return
    beacon = servers["beacon"]
    one = beacon.closed["1x8"]
    for name, factor, aim in (("fastapi", 5, 10), ("mlserver", 8, 15)):
        if name in servers:
            ratio = one.per_second / servers[name].closed["1x8"].per_second
            text = f"at least {factor} x {servers[name].title} (aim: {aim} x)"
            yield Limit("one row, 8 connections, requests/s", text, f"{ratio:.1f} x", ratio >= factor)
    peers = [servers[name] for name in PEER_NAMES if name in servers]
    if peers:
        best = min(peer.closed["1x8"].p99_ms for peer in peers)
        text = f"{one.p99_ms:.2f} ms, the best peer's {best:.2f} ms"
        yield Limit("one row, 8 connections, p99", "at most 1/3 of the best peer's", text, one.p99_ms <= best / 3)
    if "floor" in servers:
        share = one.per_second / servers["floor"].closed["1x8"].per_second
        yield Limit("one row, 8 connections, requests/s", "at least 50 % of the floor", f"{share:.0%}", share >= 0.5)
    if peers:
        ratio = rows_per_second(beacon, 1000) / best_peer_rows(servers, 1000)
        yield Limit(LARGE_BATCHES, "at least 5 x the best peer", f"{ratio:.1f} x", ratio >= 5)
    yield _at_most("first answer after start", beacon.first_answer_seconds, 1.5, "s")
    yield _at_most("resident memory under load", beacon.memory.total, 160, "MB")
    if beacon.environment_mb is not None:
        yield _at_most("environment", beacon.environment_mb, 200, "MB")
    slow = beacon.slow
    text = f"{slow.slow_p99_ms / slow.quiet_p99_ms:.2f} x, {slow.failed} failed"
    holds = slow.slow_p99_ms <= 2 * slow.quiet_p99_ms and not slow.failed
    yield Limit(f"p99 beside {slow.clients} slow clients", "at most 2 x the quiet p99, none failed", text, holds)


def _features(features: Lookup) -> Iterator[Limit]:
    for store in STORES:
        ours, theirs = (features.of(name, store) for name in ("beacon", "feast"))
        one, feast = ours.closed[1], theirs.closed[1]
        ratio = one.per_second / feast.per_second
        where = f"feature lookup, {store}"
        text = "at least 8 x `feast serve`"
        yield Limit(f"{where}, 1 entity, requests/s", text, f"{ratio:.1f} x", ratio >= 8)
        text = f"{one.p99_ms:.2f} ms, `feast serve` {feast.p99_ms:.1f} ms"
        holds = one.p99_ms <= feast.p99_ms / 20
        yield Limit(f"{where}, 1 entity, p99", "at most 1/20 of `feast serve`", text, holds)
        ratio = ours.closed[100].per_second / theirs.closed[100].per_second
        text = "at least 4 x `feast serve`"
        yield Limit(f"{where}, 100 entities, requests/s", text, f"{ratio:.1f} x", ratio >= 4)
        yield _at_most(f"{where}, first answer after start", ours.first_answer_seconds, 4, "s")
    yield _at_most("prediction by entity, p50 above by features", features.extra_p50_ms, 1.5, "ms")


def _at_most(what: str, value: float, limit: float, unit: str) -> Limit:
    digits = 2 if value < 10 else 0
    return Limit(what, f"at most {limit:g} {unit}", f"{value:.{digits}f} {unit}", value <= limit)
