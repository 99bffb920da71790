"""Each promise of the bench holds at its limit and is told broken just beyond it, for each model by itself."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from harness.access import AccessCost
from harness.limits import Limit, limits, rows_per_second
from harness.measure import Measured
from harness.model import PLAIN, PRODUCT
from harness.processes import Memory
from support.bench_run import TITLES, loaded, servers_at_their_limits

replace = msgspec.structs.replace
Servers = dict[str, Measured]


def with_load(servers: Servers, name: str, model: str, kind: str, key: str, factor: float, p99: float = 1) -> None:
    loads = getattr(servers[name].models[model], kind)
    old = loads[key]
    loads[key] = loaded(old.per_second * factor, old.p99_ms * p99)


def with_beside(servers: Servers, model: str, **changed: Any) -> None:
    models = servers["beacon"].models
    models[model] = replace(models[model], beside=replace(models[model].beside, **changed))


def broken(servers: Servers) -> list[Limit]:
    return [item for item in limits(TITLES, servers, None, {}, ()) if not item.holds]


def test_what_is_at_its_limit_holds() -> None:
    found = limits(TITLES, servers_at_their_limits(), None, {}, ())
    assert all(item.holds for item in found), found
    for title in TITLES.values():
        assert len([item for item in found if item.model == title]) == 8
    assert len([item for item in found if not item.model]) == 4


BROKEN: dict[str, Callable[[Servers, str], None]] = {
    "of the floor": lambda servers, model: with_load(servers, "floor", model, "closed", "1x8", 1.01),
    "x fastapi": lambda servers, model: with_load(servers, "fastapi", model, "closed", "1x8", 1.01),
    "x mlserver": lambda servers, model: with_load(servers, "mlserver", model, "closed", "1x8", 1.01),
    "a quarter of": lambda servers, model: with_load(servers, "beacon", model, "closed", "1x8", 1, 1.01),
    "1.5 x the best peer": lambda servers, model: with_load(servers, "fastapi", model, "closed", "100x8", 1.01),
    "1.2 x the best peer": lambda servers, model: with_load(servers, "beacon", model, "closed", "1000x1", 0.99),
    "2.5 x the best peer": lambda servers, model: with_load(servers, "kserve", model, "binary", "1000x8", 1.01),
    "5 x the quiet": lambda servers, model: with_beside(servers, model, beside_p99_ms=5.01),
}


@pytest.mark.parametrize("model", [PRODUCT, PLAIN])
@pytest.mark.parametrize("promise", BROKEN)
def test_what_is_beyond_its_limit_is_told_of_its_model_alone(promise: str, model: str) -> None:
    servers = servers_at_their_limits()
    BROKEN[promise](servers, model)
    [item] = broken(servers)
    assert promise in item.limit
    assert item.model == TITLES[model]


def test_failed_requests_break_a_promise_whatever_the_others_waited() -> None:
    servers = servers_at_their_limits()
    with_beside(servers, PLAIN, failed=1)
    servers["beacon"] = replace(servers["beacon"], slow=replace(servers["beacon"].slow, failed=1))
    assert [item.what for item in broken(servers)] == [
        "p99 of single rows beside batches of 1,000",
        "p99 beside 200 slow clients",
    ]


def test_start_and_size_are_promises_of_the_server() -> None:
    servers = servers_at_their_limits()
    servers["beacon"] = replace(
        servers["beacon"], first_answer_seconds=1.51, memory=Memory(161, 161), environment_mb=201
    )
    assert [(item.model, item.measured) for item in broken(servers)] == [
        ("", "1.51 s"),
        ("", "161 MB"),
        ("", "201 MB"),
    ]


@pytest.mark.parametrize(("microseconds", "holds"), [(5.0, True), (5.1, False)])
def test_knowing_a_client_costs_no_more_than_is_promised(microseconds: float, holds: bool) -> None:
    (found,) = limits(TITLES, {}, None, {}, (AccessCost("API key", microseconds, None, 5.0),))
    assert (found.limit, found.measured, found.holds) == ("at most 5 us a request", f"{microseconds:.1f} us", holds)


def test_a_partial_run_judges_what_it_measured() -> None:
    whole = servers_at_their_limits()
    assert limits(TITLES, {}, None, {}, ()) == ()
    assert limits(TITLES, {"fastapi": whole["fastapi"]}, None, {}, ()) == ()
    found = limits(TITLES, {"beacon": whole["beacon"], "fastapi": whole["fastapi"]}, None, {}, ())
    assert not any("binary" in item.what or "floor" in item.limit for item in found)
    assert any("fastapi" in item.limit for item in found)


def test_rows_are_counted_at_the_best_number_of_connections_of_their_size_alone() -> None:
    closed = {"1x8": loaded(9.0), "10x8": loaded(50.0), "100x1": loaded(3.0), "100x8": loaded(2.0)}
    own = replace(servers_at_their_limits()["beacon"].models[PRODUCT], closed=closed, binary={})
    assert [rows_per_second(own, rows) for rows in (1, 10, 100, 1000)] == [9.0, 500.0, 300.0, None]
    assert rows_per_second(own, 100, binary=True) is None
