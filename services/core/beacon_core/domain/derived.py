"""Derived columns: what a model takes beside the features as they come, declared in product.yaml.

Retraining, the feature store and inference compute them with `model_package/model_inputs.py`, so all get the same
numbers. A lag is not derived: it is a feature that the feature store has, computed from the entity's own history.
"""

import math
from typing import Any, Literal

from beacon_core.domain.spec import Spec

Part = Literal[
    "year", "quarter", "month", "day", "weekday", "hour", "month_cycle", "day_of_year_cycle", "hour_cycle", "age"
]
CYCLES: dict[str, float] = {"month_cycle": 12.0, "day_of_year_cycle": 366.0, "hour_cycle": 24.0}
"""Parts that begin again: two columns each, sine and cosine, so that December is next to January."""
TIME_PARTS = frozenset({"hour", "hour_cycle"})
"""Parts that only a timestamp has."""
DEFAULT_PARTS: tuple[Part, ...] = ("year", "day_of_year_cycle", "weekday")


class Formula(Spec, frozen=True, kw_only=True):
    """A number computed from other features; exactly one of the four. Missing operands are imputed before.

    `ratio` and `difference` are of two measured features, `square` and `log` of one: the natural logarithm of 1 + |x|,
    with the sign of x, which is defined for all numbers. A ratio is 0 where its second feature is 0.
    """

    ratio: tuple[str, str] | None = None
    """The first of two features divided by the second; 0 where that is 0."""
    difference: tuple[str, str] | None = None
    """The first of two features less the second."""
    log: str | None = None
    """Logarithm of 1 + |x|, with the sign of x."""
    square: str | None = None
    """The feature times itself."""

    @property
    def kind(self) -> str:
        """The key that is given; "" where it is none or several."""
        given = [name for name in self.__struct_fields__ if getattr(self, name) is not None]
        return given[0] if len(given) == 1 else ""

    @property
    def operands(self) -> tuple[str, ...]:
        """The features it is computed from."""
        value = getattr(self, self.kind)
        return value if isinstance(value, tuple) else (value,)

    @property
    def text(self) -> str:
        """The formula as people read it."""
        names = self.operands
        return (
            {"ratio": " / ", "difference": " - "}[self.kind].join(names)
            if len(names) > 1
            else f"{self.kind} {names[0]}"
        )


class Lag(Spec, frozen=True, kw_only=True):
    """A figure of an entity's own past: the mean (or sum, min, max, count, last) of `lag` over the `days` before."""

    lag: str
    """A measured feature, or the target."""
    days: int
    """How far back."""
    of: Literal["mean", "sum", "min", "max", "count", "last"] = "mean"
    """The figure of the values of these days."""


def part_columns(name: str, parts: tuple[str, ...]) -> list[str]:
    """The names of the columns that a date's parts make."""
    columns: list[str] = []
    for part in parts:
        columns += [f"{name}.{part}_sin", f"{name}.{part}_cos"] if part in CYCLES else [f"{name}.{part}"]
    return columns


def cycle(numbers: Any, period: float) -> Any:
    """The angle of a part that begins again after `period`."""
    return numbers * (2 * math.pi / period)
