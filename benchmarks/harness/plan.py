"""What a run measures, how long and how often."""

import msgspec

CROWD = 500
"""Clients that come at once and all ask without a pause."""
SLOW_CLIENTS = 200
STEADY_RATE = 200
"""Single rows/s beside slow clients, beside batches, and alone."""
LARGE_ROWS = 1000
CPU_ROWS, CPU_CONNECTIONS = (1, LARGE_ROWS), 8


class Plan(msgspec.Struct, frozen=True):
    """How long and how often."""

    starts: int
    seconds: float
    repetitions: int
    sizes: dict[int, tuple[int, ...]]
    """Connections of the closed loop, by rows a request, with the product's model."""
    other_sizes: dict[int, tuple[int, ...]]
    """The same, with the other models."""
    tensors: dict[int, tuple[int, ...]]
    """The same, for binary tensors."""
    rates: tuple[int, ...]
    open_seconds: float
    steady_repetitions: int
    steady_seconds: float
    feature_seconds: float
    steady_feast: bool
    """Whether `feast serve` is also measured without its restarts."""


FULL = Plan(
    starts=3,
    seconds=2,
    repetitions=3,
    sizes={1: (1, 8), 10: (8,), 100: (8,), 1000: (1, 8)},
    other_sizes={1: (8,), 10: (8,), 100: (8,), 1000: (1, 8)},
    tensors={100: (8,), 1000: (8,)},
    rates=(200, 500, 1000, 2000, 4000, 8000),
    open_seconds=2,
    steady_repetitions=3,
    steady_seconds=2,
    feature_seconds=3,
    steady_feast=True,
)
QUICK = Plan(
    starts=1,
    seconds=1,
    repetitions=1,
    sizes={1: (1, 8), 10: (8,), 100: (8,), 1000: (8,)},
    other_sizes={1: (8,), 10: (8,), 100: (8,), 1000: (8,)},
    tensors={100: (8,), 1000: (8,)},
    rates=(500, 2000),
    open_seconds=1,
    steady_repetitions=1,
    steady_seconds=1,
    feature_seconds=2,
    steady_feast=False,
)
