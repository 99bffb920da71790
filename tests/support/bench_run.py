"""A run of the bench in which every promise holds, just so."""

from harness.closedloop import Loaded
from harness.measure import Measured, Slow
from harness.model import PLAIN, PRODUCT
from harness.openloop import Paced
from harness.processes import Memory
from harness.served import Beside, Served

TITLES = {PRODUCT: "the product's blend", PLAIN: "plain boosting"}


def loaded(per_second: float, p99_ms: float = 10.0) -> Loaded:
    """A closed loop of so many requests/s."""
    return Loaded(per_second, p99_ms / 2, p99_ms, (per_second,), answered=1000)


def served(
    one: float, hundred: float, thousand: float, binary: float = 0.0, p99_ms: float = 10.0, beside: float = 5.0
) -> Served:
    """Requests/s of one row, rows/s of batches; p99 beside batches is `beside` times the quiet one."""
    closed = {
        "1x1": loaded(one / 2),
        "1x8": loaded(one, p99_ms),
        "10x8": loaded(1.0),
        "100x1": loaded(hundred / 200),
        "100x8": loaded(hundred / 100),
        "1000x1": loaded(thousand / 1000),
        "1000x8": loaded(thousand / 2000),
    }
    tensors = {"100x8": loaded(1.0), "1000x8": loaded(binary / 1000)} if binary else {}
    return Served(closed, tensors, {1: 100.0, 1000: 10.0}, Beside(200, 1.0, beside, 0, 1000.0, 0.0))


def server(name: str, models: dict[str, Served]) -> Measured:
    """A server whose other figures are at their limits."""
    return Measured(
        name=name,
        title=name,
        versions={name: "1.0"},
        first_answer_seconds=1.5,
        memory=Memory(160, 160),
        environment_mb=200,
        open=(Paced(200, 1.0, 2.0, 200, 0, True, 0.0), Paced(500, 1.0, 2.0, 100, 0, False, 0.0)),
        crowd=loaded(100.0),
        slow=Slow(200, 200, 1.0, 2.0, 0),
        models=models,
    )


def servers_at_their_limits() -> dict[str, Measured]:
    """Beacon at its limits, beside the floor and three peers."""
    models = {
        "beacon": {PRODUCT: served(1400.0, 1500.0, 1200.0, 2500.0), PLAIN: served(1000.0, 1500.0, 1200.0, 2500.0)},
        "floor": {PRODUCT: served(1400 / 0.6, 9e3, 9e3), PLAIN: served(1000 / 0.6, 9e3, 9e3)},
        "fastapi": {
            PRODUCT: served(100.0, 1000.0, 1000.0, p99_ms=40.0),
            PLAIN: served(125.0, 1000.0, 500.0, p99_ms=40.0),
        },
        "kserve": {PRODUCT: served(50.0, 900.0, 900.0, 1000.0, 50.0), PLAIN: served(50.0, 1.0, 1000.0, 1000.0, 50.0)},
        "mlserver": {PRODUCT: served(1400 / 12, 1.0, 1.0, p99_ms=99.0), PLAIN: served(100.0, 1.0, 1.0, p99_ms=99.0)},
    }
    return {name: server(name, own) for name, own in models.items()}
