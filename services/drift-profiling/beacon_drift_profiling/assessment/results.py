"""What a run found, as values, and how the store keeps it: all rows of a run at once, in place of its earlier ones."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection, and_, delete, insert, select, update

from beacon_core.data.tables import drift_results, drift_runs, model_error
from beacon_drift_profiling.assessment.performance import Figure
from beacon_drift_profiling.profiling.shelf import upsert

OK, DRIFT, ERROR, WAITING = "ok", "drift", "error", "waiting"
FEW_ROWS, NO_REFERENCE = "few_rows", "no_reference"
KEEP_REPORTS = timedelta(days=31)

Key = tuple[str, str, str, str]
"""Window, kind, feature, effect."""
Series = dict[tuple[str, str], list[tuple[str, float | None, float | None]]]
"""By feature and effect: period, score, threshold."""


class Picture(msgspec.Struct, frozen=True):
    """A column's distribution beside its reference: shares in the same bins, and what the bins are."""

    labels: tuple[str, ...]
    reference: tuple[float, ...]
    seen: tuple[float, ...]


class Result(msgspec.Struct, frozen=True):
    """One effect on one column in one window: a row of `drift_results`."""

    window: str
    model_version: str
    kind: str
    feature: str
    effect: str
    state: str
    score: float | None
    p_value: float | None
    threshold: float | None
    rows: int
    alarm: bool
    confirmed: bool
    details: dict[str, Any]


class Realised(msgspec.Struct, frozen=True):
    """The figures of one version in one window: rows of `model_error`."""

    window: str
    model_version: str
    until: datetime
    figures: list[Figure]


class Alarm(msgspec.Struct, frozen=True):
    """Why a retraining is asked for: what it is about, in words, and what it rests on."""

    about: str
    reason: str


class Run(msgspec.Struct, frozen=True):
    """A whole run. `serving` is the version that it judges; `alarms` are those that ask for a retraining."""

    period: str
    product: str
    created_at: datetime
    serving: str | None
    state: str
    rows: int
    words: list[str]
    results: list[Result]
    realised: list[Realised]
    pictures: dict[str, dict[str, Picture]]
    alarms: list[Alarm]
    summary: dict[str, Any]


def earlier_alarms(
    connection: Connection, period: str, version: str, runs: int
) -> list[set[tuple[str, str, str, str]]]:
    """For each of the last `runs` runs before `period` that judged a version: what was an alarm then."""
    table = drift_results.c
    before = (
        select(table.period)
        .where(table.period < period, table.model_version == version)
        .distinct()
        .order_by(table.period.desc())
        .limit(runs)
    )
    found = []
    for name in connection.execute(before).scalars().all():
        query = select(table.window, table.kind, table.feature, table.effect)
        rows = connection.execute(query.where(table.period == name, table.model_version == version, table.alarm))
        found.append({(row[0], row[1], row[2], row[3]) for row in rows})
    return found


def earlier_figures(connection: Connection, period: str, version: str, runs: int) -> list[tuple[str, Figure]]:
    """List the overall figures of the last runs before `period`, by window, the newest first."""
    table = model_error.c
    before = (
        select(table.period)
        .where(table.period < period, table.model_version == version)
        .distinct()
        .order_by(table.period.desc())
        .limit(runs)
    )
    names = connection.execute(before).scalars().all()
    query = select(table.window, table.metric, table.segment, table.value, table.low, table.high, table.rows)
    query = query.where(table.period.in_(names), table.model_version == version, table.segment == "")
    rows = connection.execute(query.order_by(table.period.desc()))
    return [(window, Figure(*figure)) for window, *figure in rows]


def trend(
    connection: Connection, period: str, version: str, window: str, runs: int
) -> dict[tuple[str, str], list[Any]]:
    """Score and threshold of each effect over the last runs before `period`, the oldest first: (period, both)."""
    table = drift_results.c
    before = (
        select(table.period)
        .where(table.period < period, table.model_version == version)
        .distinct()
        .order_by(table.period.desc())
        .limit(runs)
    )
    names = connection.execute(before).scalars().all()
    query = select(table.feature, table.effect, table.period, table.score, table.threshold).where(
        table.period.in_(names), table.window == window, table.model_version == version
    )
    series: Series = {}
    for feature, effect, name, score, threshold in connection.execute(query.order_by(table.period)):
        series.setdefault((feature, effect), []).append((name, score, threshold))
    return series


def write(connection: Connection, run: Run, report: str) -> None:
    """Put the run in the place of an earlier one of the same period."""
    for table in (drift_results, model_error):
        connection.execute(delete(table).where(table.c.period == run.period))
    common = {"period": run.period, "created_at": run.created_at}
    if run.results:
        connection.execute(insert(drift_results), [msgspec.structs.asdict(result) | common for result in run.results])
    rows = [
        msgspec.structs.asdict(figure)
        | common
        | {"window": part.window, "model_version": part.model_version, "until": part.until}
        for part in run.realised
        for figure in part.figures
    ]
    if rows:
        connection.execute(insert(model_error), rows)
    row = {"state": run.state, "rows": run.rows, "summary": run.summary, "report": report}
    upsert(connection, drift_runs, ("period",), row | common)
    old = and_(drift_runs.c.created_at < run.created_at - KEEP_REPORTS, drift_runs.c.report.is_not(None))
    connection.execute(update(drift_runs).where(old).values(report=None))


def worst_first(results: Sequence[Result]) -> list[Result]:
    """Order results by how far they are above their threshold, confirmed ones first."""
    return sorted(results, key=lambda result: (not result.confirmed, not result.alarm, -ratio(result)))


def ratio(result: Result) -> float:
    """Score by threshold; 0 where there is none."""
    return (result.score or 0.0) / result.threshold if result.threshold else 0.0
