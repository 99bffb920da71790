"""What drift runs found, as the store keeps it: a run writes all its rows at once, and services read them by run."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Select, Table, and_, delete, insert, null, select, update

from beacon_core.data.database import upsert
from beacon_core.data.tables import drift_results, drift_runs, model_error

OK, DRIFT, ERROR, WAITING = "ok", "drift", "error", "waiting"
FEW_ROWS, NO_REFERENCE = "few_rows", "no_reference"
KEEP_REPORTS = timedelta(days=31)

ResultKey = tuple[str, str, str, str]
"""Window, kind, feature, effect."""
EffectTrends = dict[tuple[str, str], list[tuple[str, float | None, float | None]]]
"""By feature and effect: period, score and threshold of each run, the oldest first."""
ScoreTrend = dict[tuple[str, str, str], dict[str, float | None]]
"""By kind, feature and effect: the score of each period."""


class DriftResult(msgspec.Struct, frozen=True):
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


class Figure(msgspec.Struct, frozen=True):
    """One figure of a window with its 95 % confidence interval; `value` None: not enough rows."""

    metric: str
    segment: str
    value: float | None
    low: float | None
    high: float | None
    rows: int


class RealisedFigures(msgspec.Struct, frozen=True):
    """The figures of one version in one window: rows of `model_error`."""

    window: str
    model_version: str
    until: datetime
    figures: list[Figure]


class PerformanceFigure(NamedTuple):
    """A row of `model_error`: a `Figure` with its run, window and version."""

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


class EffectPoint(NamedTuple):
    """An effect on a feature in one run."""

    period: str
    model_version: str
    score: float | None
    threshold: float | None
    alarm: bool


class DriftRun(msgspec.Struct, frozen=True):
    """One run: a row of `drift_runs`, without its report."""

    period: str
    created_at: datetime
    state: str
    rows: int
    summary: dict[str, Any]


class ColumnDistribution(msgspec.Struct, frozen=True, omit_defaults=True):
    """A column's distribution in a window beside its reference: shares in the same bins, and what the bins are.

    `edges` of a numeric column are its bins' edges: the first label is below the first edge, the last one above the
    last. `nulls` of `rows` had no value, and `reference_nulls` of `reference_rows` in training.
    """

    labels: tuple[str, ...]
    reference: tuple[float, ...]
    seen: tuple[float, ...]
    edges: tuple[float, ...] = ()
    rows: int = 0
    nulls: int = 0
    reference_rows: int = 0
    reference_nulls: int = 0


Distributions = Mapping[str, Mapping[str, ColumnDistribution]]
"""By column, and by window."""
SHARE_DIGITS = 4
"""A page shows no more of a share."""


RUN = tuple(drift_runs.c[name] for name in DriftRun.__struct_fields__)
RESULT = tuple(drift_results.c[name] for name in DriftResult.__struct_fields__)
FIGURE = tuple(model_error.c[name] for name in PerformanceFigure._fields)


def window_name(days: int) -> str:
    """Name a window of so many days as the column `window` does."""
    return f"{days}d"


def write(
    connection: Connection,
    run: DriftRun,
    report: str,
    results: Sequence[DriftResult],
    realised: Sequence[RealisedFigures],
    distributions: Distributions,
) -> None:
    """Put the run and its report in the place of an earlier one of the same period.

    Reports that are too old go, and so do the distributions of every other run.
    """
    for table in (drift_results, model_error):
        connection.execute(delete(table).where(table.c.period == run.period))
    common = {"period": run.period, "created_at": run.created_at}
    if results:
        connection.execute(insert(drift_results), [msgspec.structs.asdict(result) | common for result in results])
    rows = [
        msgspec.structs.asdict(figure)
        | common
        | {"window": part.window, "model_version": part.model_version, "until": part.until}
        for part in realised
        for figure in part.figures
    ]
    if rows:
        connection.execute(insert(model_error), rows)
    row = msgspec.structs.asdict(run) | {"report": report, "distributions": _shortened(distributions)}
    upsert(connection, drift_runs, ("period",), row)
    old = and_(drift_runs.c.created_at < run.created_at - KEEP_REPORTS, drift_runs.c.report.is_not(None))
    connection.execute(update(drift_runs).where(old).values(report=None))
    others = and_(drift_runs.c.period != run.period, drift_runs.c.distributions.is_not(None))
    connection.execute(update(drift_runs).where(others).values(distributions=null()))


def earlier_alarms(connection: Connection, period: str, model_version: str, runs: int) -> list[set[ResultKey]]:
    """For each of the last `runs` runs before `period` that judged a version: what was an alarm then."""
    table = drift_results.c
    found = []
    for earlier in connection.execute(_periods_before(drift_results, period, model_version, runs)).scalars().all():
        query = select(table.window, table.kind, table.feature, table.effect)
        rows = connection.execute(
            query.where(table.period == earlier, table.model_version == model_version, table.alarm)
        )
        found.append({(row[0], row[1], row[2], row[3]) for row in rows})
    return found


def earlier_figures(connection: Connection, period: str, model_version: str, runs: int) -> list[tuple[str, Figure]]:
    """List the overall figures of the last runs before `period`, by window, the newest first."""
    table = model_error.c
    periods = connection.execute(_periods_before(model_error, period, model_version, runs)).scalars().all()
    query = select(table.window, table.metric, table.segment, table.value, table.low, table.high, table.rows)
    query = query.where(table.period.in_(periods), table.model_version == model_version, table.segment == "")
    rows = connection.execute(query.order_by(table.period.desc()))
    return [(window, Figure(*figure)) for window, *figure in rows]


def effect_trends(connection: Connection, period: str, model_version: str, window: str, runs: int) -> EffectTrends:
    """Score and threshold of each effect over the last runs before `period`, the oldest first."""
    table = drift_results.c
    periods = connection.execute(_periods_before(drift_results, period, model_version, runs)).scalars().all()
    query = select(table.feature, table.effect, table.period, table.score, table.threshold).where(
        table.period.in_(periods), table.window == window, table.model_version == model_version
    )
    trend: EffectTrends = {}
    for feature, effect, earlier, score, threshold in connection.execute(query.order_by(table.period)):
        trend.setdefault((feature, effect), []).append((earlier, score, threshold))
    return trend


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


def large_residual_of(connection: Connection, model_version: str) -> float | None:
    """The residual above which one of a version is large, as its newest drift run says; None where that is not known.

    Only policy.yaml's own limit is known without the model's package, which the drift job reads.
    """
    run = newest_run(connection)
    facts = {} if run is None else run.summary.get("versions", {}).get(model_version, {})
    limit = facts.get("large_residual")
    return None if limit is None else float(limit)


def report_of(connection: Connection, period: str) -> str | None:
    """Return the run's self-contained HTML report; None when there is none, or none any more."""
    return connection.execute(select(drift_runs.c.report).where(drift_runs.c.period == period)).scalar()


def distributions_of(connection: Connection, column: str) -> dict[str, ColumnDistribution]:
    """A column's distribution in each window of the newest run that compared it; empty where none did."""
    return msgspec.convert(_newest_distributions(connection).get(column, {}), dict[str, ColumnDistribution])


def distributions_in(connection: Connection, window: str) -> dict[str, ColumnDistribution]:
    """The distribution of every column in a window of the newest run."""
    found = {name: of[window] for name, of in _newest_distributions(connection).items() if window in of}
    return msgspec.convert(found, dict[str, ColumnDistribution])


def results_of(connection: Connection, period: str, feature: str | None = None) -> list[DriftResult]:
    """List a run's comparisons, of one feature or of all."""
    query = select(*RESULT).where(drift_results.c.period == period).order_by(drift_results.c.id)
    if feature is not None:
        query = query.where(drift_results.c.feature == feature)
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
    """Return the scores of some runs in one window."""
    columns = drift_results.c
    query = select(columns.kind, columns.feature, columns.effect, columns.period, columns.score).where(
        columns.period.in_(periods), columns.window == window
    )
    trend: ScoreTrend = {}
    for kind, feature, effect, period, score in connection.execute(query):
        trend.setdefault((kind, feature, effect), {})[period] = score
    return trend


def trends_of(
    connection: Connection, periods: Sequence[str], window: str, feature: str
) -> dict[str, list[EffectPoint]]:
    """A feature's score and threshold by effect over some runs, the oldest first."""
    columns = drift_results.c
    query = select(columns.effect, *[columns[name] for name in EffectPoint._fields]).where(
        columns.period.in_(periods), columns.window == window, columns.kind == "data", columns.feature == feature
    )
    trends: dict[str, list[EffectPoint]] = {}
    for effect, *point in connection.execute(query.order_by(columns.period, columns.id)):
        trends.setdefault(effect, []).append(EffectPoint(*point))
    return trends


def figure_trend(connection: Connection, periods: Sequence[str], window: str, metric: str) -> list[PerformanceFigure]:
    """One performance figure of the whole traffic over the runs, the oldest first."""
    columns = model_error.c
    query = (
        select(*FIGURE)
        .where(columns.period.in_(periods), columns.window == window, columns.segment == "", columns.metric == metric)
        .order_by(columns.period)
    )
    return [PerformanceFigure(*row) for row in connection.execute(query)]


def _shortened(distributions: Distributions) -> dict[str, Any]:
    def rounded(shares: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(round(share, SHARE_DIGITS) for share in shares)

    return {
        name: {
            window: msgspec.to_builtins(
                msgspec.structs.replace(each, reference=rounded(each.reference), seen=rounded(each.seen))
            )
            for window, each in windows.items()
        }
        for name, windows in distributions.items()
    }


def _newest_distributions(connection: Connection) -> dict[str, Any]:
    query = select(drift_runs.c.distributions).order_by(drift_runs.c.period.desc()).limit(1)
    return connection.scalar(query) or {}


def _periods_before(table: Table, period: str, model_version: str, runs: int) -> Select[Any]:
    """The last `runs` periods before `period` with rows of a version, the newest first."""
    columns = table.c
    query = select(columns.period).where(columns.period < period, columns.model_version == model_version).distinct()
    return query.order_by(columns.period.desc()).limit(runs)
