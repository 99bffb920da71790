"""What a run found, as values: the results and figures that the store keeps, and what only the report shows."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from beacon_core.data.drift_results import ColumnDistribution, DriftResult, RealisedFigures


class Alarm(msgspec.Struct, frozen=True):
    """Why a retraining is requested: the subject that it is about, and the reason as a message.

    None is requested where one client's rows alone are the reason: then `client` is its name.
    """

    about: str
    reason: str
    client: str | None = None


class RunResults(msgspec.Struct, frozen=True):
    """All that a run found. `serving` is the version that it judges; `alarms` are reasons for a retraining."""

    period: str
    product: str
    created_at: datetime
    serving: str | None
    state: str
    rows: int
    messages: list[str] = msgspec.field(name="words")
    results: list[DriftResult]
    realised: list[RealisedFigures]
    distributions: dict[str, dict[str, ColumnDistribution]] = msgspec.field(name="pictures")
    alarms: list[Alarm]
    summary: dict[str, Any]


def worst_first(results: Sequence[DriftResult]) -> list[DriftResult]:
    """Order results by how far they are above their threshold, confirmed ones first."""
    return sorted(results, key=lambda result: (not result.confirmed, not result.alarm, -ratio(result)))


def ratio(result: DriftResult) -> float:
    """Score by threshold; 0 where there is none."""
    return (result.score or 0.0) / result.threshold if result.threshold else 0.0
