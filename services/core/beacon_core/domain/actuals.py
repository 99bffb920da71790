"""Actuals: the true values that become known after a prediction."""

from datetime import datetime
from typing import Literal, NamedTuple

import msgspec

Outcome = Literal["accepted", "corrected", "duplicate"]
"""What became of an actual: stored, stored as a correction, or not stored since nothing is new."""


class Actual(msgspec.Struct, frozen=True):
    """A true value, for one prediction or for an entity at a time."""

    value: float
    observed_at: datetime
    source: str
    prediction_id: str | None = None
    entity: str | None = None


class LoggedActual(NamedTuple):
    """An actual as the store has it; `received_at` orders corrections."""

    value: float
    observed_at: datetime
    received_at: datetime
    source: str
