"""What was measured of one phase: figures only. `judge.py` compares them with the limits."""

from msgspec import Struct

from beacon_core.domain.pins import Pin


class Side(Struct, frozen=True, kw_only=True):
    """One model in one phase. What was not measured is None; nothing is ever estimated.

    `failures` are requests without an answer or with a 5xx (never 4xx), `not_finite` those of them that the server
    explains by an answer that is not a finite number. `p99` holds one figure per window, in seconds. `mean` and
    `spread` (standard deviation) are of the answers, in the target's unit; `out_of_range` is the share of answers
    outside the range of the model's training. `memory` is the resident memory of its largest process, in bytes.
    """

    pin: Pin
    requests: int
    failures: int = 0
    not_finite: int = 0
    p99: tuple[float, ...] = ()
    mean: float | None = None
    spread: float | None = None
    out_of_range: float | None = None
    memory: float | None = None


class GoldenResults(Struct, frozen=True):
    """Golden requests sent to every instance: how many, how many answers were wrong, and the first wrong one."""

    asked: int
    wrong: int
    first: str = ""


class Labels(Struct, frozen=True):
    """Answers whose true value is known: how many, and the mean absolute error of the new and the old model on them."""

    rows: int
    new: float
    old: float | None


class Measures(Struct, frozen=True, kw_only=True):
    """A phase: the model that is judged, and the one beside it (None for a first model).

    `pairs` are requests that both answered, and `agreement` is the correlation of the two answers. `instances` are the
    pins that the instances report.
    """

    new: Side
    old: Side | None = None
    golden: GoldenResults | None = None
    pairs: int = 0
    agreement: float | None = None
    labels: Labels | None = None
    instances: tuple[Pin | None, ...] = ()
