"""Drift and realised error as the drift job left them: the newest run, any run, and how both went over time."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, RowMapping, select

from beacon_core.data.tables import drift_results, drift_runs, model_error

RECENT = 100
"""Runs shown on the list."""
TREND = 48
"""Runs shown in a trend, spread evenly over the newest `TREND_RUNS`."""
TREND_RUNS = 30 * 24

# (kind, feature, effect) -> period -> score
Trend = dict[tuple[str, str, str], dict[str, float | None]]


class Run(NamedTuple):
    """One drift run, without its report."""

    period: str
    created_at: datetime
    state: str
    rows: int
    summary: dict[str, Any]


class Result(NamedTuple):
    """One comparison with the reference: `score` is the effect's size, an alarm when above `threshold`."""

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
    details: dict[str, Any] | None


class Figure(NamedTuple):
    """One realised figure, with its 95 % confidence interval over `rows`."""

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


RUN = (drift_runs.c.period, drift_runs.c.created_at, drift_runs.c.state, drift_runs.c.rows, drift_runs.c.summary)
RESULT = tuple(drift_results.c[name] for name in Result._fields)
FIGURE = tuple(model_error.c[name] for name in Figure._fields)


def runs_of(connection: Connection, most: int = RECENT) -> list[Run]:
    """List the newest runs, the newest first."""
    query = select(*RUN).order_by(drift_runs.c.period.desc()).limit(most)
    return [_run(row) for row in connection.execute(query).mappings()]


def run_of(connection: Connection, period: str) -> Run | None:
    """Find one run."""
    row = connection.execute(select(*RUN).where(drift_runs.c.period == period)).mappings().first()
    return None if row is None else _run(row)


def report_of(connection: Connection, period: str) -> str | None:
    """Return the run's self-contained HTML report; None when there is none, or none any more."""
    return connection.execute(select(drift_runs.c.report).where(drift_runs.c.period == period)).scalar()


def results_of(connection: Connection, period: str) -> list[Result]:
    """List a run's comparisons."""
    query = select(*RESULT).where(drift_results.c.period == period).order_by(drift_results.c.id)
    return [Result(*row) for row in connection.execute(query)]


def figures_of(connection: Connection, period: str) -> list[Figure]:
    """List a run's realised figures."""
    query = select(*FIGURE).where(model_error.c.period == period).order_by(model_error.c.id)
    return [Figure(*row) for row in connection.execute(query)]


def trend_periods(connection: Connection) -> list[str]:
    """Choose at most TREND runs of the newest month, evenly spread, the oldest first and the newest last."""
    query = select(drift_runs.c.period).order_by(drift_runs.c.period.desc()).limit(TREND_RUNS)
    newest_first = connection.execute(query).scalars().all()
    step = max(-(-len(newest_first) // TREND), 1)
    return list(reversed(newest_first[::step]))


def score_trend(connection: Connection, periods: Sequence[str], window: str) -> Trend:
    """Scores by (kind, feature, effect), then by period."""
    columns = drift_results.c
    query = select(columns.kind, columns.feature, columns.effect, columns.period, columns.score).where(
        columns.period.in_(periods), columns.window == window
    )
    trend: Trend = {}
    for kind, feature, effect, period, score in connection.execute(query):
        trend.setdefault((kind, feature, effect), {})[period] = score
    return trend


def figure_trend(connection: Connection, periods: Sequence[str], window: str, metric: str) -> list[Figure]:
    """One realised figure of the whole traffic over the runs, the oldest first."""
    columns = model_error.c
    query = (
        select(*FIGURE)
        .where(columns.period.in_(periods), columns.window == window, columns.segment == "", columns.metric == metric)
        .order_by(columns.period)
    )
    return [Figure(*row) for row in connection.execute(query)]


def _run(row: RowMapping) -> Run:
    return Run(**row)
