"""What a page of the prediction log is asked for and has, whichever store it comes from."""

from datetime import datetime
from typing import NamedTuple

import msgspec

from beacon_core.domain.value_rules import Value

MOST_SEARCHED = 10_000
"""Rows that one page looks at for a filter without an index."""
MOST_JOINED = 1_000
"""Rows of which one page looks up the actuals, which takes several steps in indexes each."""


class LogFilter(NamedTuple):
    """Which predictions a page shows; None is any. `error_above` is of the absolute error, in the target's unit."""

    since: datetime | None = None
    until: datetime | None = None
    version: str | None = None
    entity: str | None = None
    is_out_of_range: bool | None = None
    has_actual: bool | None = None
    error_above: float | None = None

    @property
    def needs_actuals(self) -> bool:
        """Whether it depends on the actuals."""
        return self.has_actual is not None or self.error_above is not None


class LogPosition(NamedTuple):
    """A place in the log: what follows it, newest first, is older, or of the same moment with a smaller id."""

    time: datetime
    id: str


class LogLine(msgspec.Struct, frozen=True):
    """A prediction, and its actual once there is one. A feature that had no value is not there."""

    id: str
    time: datetime
    entity: str | None
    client: str | None
    model_version: str
    prediction: float
    low: float
    high: float
    imputed: list[str]
    out_of_range: list[str]
    features: dict[str, Value]
    actual: float | None
    observed_at: datetime | None

    @property
    def error(self) -> float | None:
        """Actual minus prediction."""
        return None if self.actual is None else self.actual - self.prediction


class LogPage(NamedTuple):
    """Lines, the newest first. `following` is where the next page begins; None at the log's end.

    `searched_to` is where the search ended before the page was full.
    """

    lines: list[LogLine]
    following: LogPosition | None
    searched_to: datetime | None


class LoggedValue(NamedTuple):
    """One feature of one prediction: None where it had no value."""

    time: datetime
    value: Value | None
    is_imputed: bool
    is_out_of_range: bool


class ShadowPair(NamedTuple):
    """A row that two models answered: one in service, one in shadow."""

    id: str
    time: datetime
    entity: str | None
    prediction: float
    shadow_prediction: float
    features: dict[str, Value | None]
    actual: float | None


OF_LOG = LogLine.__struct_fields__[:-2]
"""The fields of a line that are the prediction's."""
