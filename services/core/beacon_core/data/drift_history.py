"""Drift and performance as the drift job wrote them: the newest run, any run, and both over time."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, select

from beacon_core.data.drift_results import DriftResult, DriftRun
from beacon_core.data.tables import drift_results, drift_runs, model_error

# (kind, feature, effect) -> period -> score
ScoreTrend = dict[tuple[str, str, str], dict[str, float | None]]


class PerformanceFigure(NamedTuple):
    """One figure of the realised performance, with its 95 % confidence interval over `rows`."""

    period: str
    window: str
    segment: str
    model_version: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    rows: int
    until: datetime


RUN = tuple(drift_runs.c[name] for name in DriftRun.__struct_fields__)
RESULT = tuple(drift_results.c[name] for name in DriftResult.__struct_fields__)
FIGURE = tuple(model_error.c[name] for name in PerformanceFigure._fields)


def newest_runs(connection: Connection, most: int) -> list[DriftRun]:
    """List the newest runs, the newest first."""
    query = select(*RUN).order_by(drift_runs.c.period.desc()).limit(most)
    return [DriftRun(*row) for row in connection.execute(query)]


def newest_run(connection: Connection) -> DriftRun | None:
    """Find the newest run; None before the first one."""
    return next(iter(newest_runs(connection, 1)), None)


def run_of(connection: Connection, period: str) -> DriftRun | None:
    """Find one run."""
    row = connection.execute(select(*RUN).where(drift_runs.c.period == period)).first()
    return None if row is None else DriftRun(*row)


def report_of(connection: Connection, period: str) -> str | None:
    """Return the run's self-contained HTML report; None when there is none, or none any more."""
    return connection.execute(select(drift_runs.c.report).where(drift_runs.c.period == period)).scalar()


def results_of(connection: Connection, period: str) -> list[DriftResult]:
    """List a run's comparisons."""
    query = select(*RESULT).where(drift_results.c.period == period).order_by(drift_results.c.id)
    return [DriftResult(*row) for row in connection.execute(query)]


def figures_of(connection: Connection, period: str) -> list[PerformanceFigure]:
    """List a run's performance figures."""
    query = select(*FIGURE).where(model_error.c.period == period).order_by(model_error.c.id)
    return [PerformanceFigure(*row) for row in connection.execute(query)]


def newest_periods(connection: Connection, most: int) -> list[str]:
    """List the periods of the newest runs, the newest first."""
    query = select(drift_runs.c.period).order_by(drift_runs.c.period.desc()).limit(most)
    return list(connection.execute(query).scalars())


def score_trend(connection: Connection, periods: Sequence[str], window: str) -> ScoreTrend:
    """Scores by (kind, feature, effect), then by period."""
    columns = drift_results.c
    query = select(columns.kind, columns.feature, columns.effect, columns.period, columns.score).where(
        columns.period.in_(periods), columns.window == window
    )
    trend: ScoreTrend = {}
    for kind, feature, effect, period, score in connection.execute(query):
        trend.setdefault((kind, feature, effect), {})[period] = score
    return trend


def figure_trend(connection: Connection, periods: Sequence[str], window: str, metric: str) -> list[PerformanceFigure]:
    """One performance figure of the whole traffic over the runs, the oldest first."""
    columns = model_error.c
    query = (
        select(*FIGURE)
        .where(columns.period.in_(periods), columns.window == window, columns.segment == "", columns.metric == metric)
        .order_by(columns.period)
    )
    return [PerformanceFigure(*row) for row in connection.execute(query)]
