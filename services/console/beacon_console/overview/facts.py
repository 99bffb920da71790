"""Everything that the front page shows, read in one transaction."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, TypeVar

from beacon_console.models.approvals import verdicts_that_wait
from beacon_console.overview.inference import InferenceStatus
from beacon_core.data import drift_results, job_runs, ledger, retrain_requests, verdicts
from beacon_core.data.database import Connection
from beacon_core.data.drift_results import DriftResult, DriftRun, PerformanceFigure
from beacon_core.data.job_runs import JobStatus
from beacon_core.data.prediction_log import traffic
from beacon_core.data.prediction_log.traffic import CurrentVersion, HourlyTraffic, VersionTraffic
from beacon_core.data.retrain_requests import RetrainRequest
from beacon_core.data.verdicts import RecordedVerdict
from beacon_core.domain.ledger_entries import Entry
from beacon_core.domain.product import Product

DAY_HOURS = 24
NEWEST_LATENCIES = 5000
"""Latency quantiles are taken over this many of the newest predictions of the last day."""
RECENT = 5
"""Verdicts, promotions and retrain requests on the front page."""


class Latency(NamedTuple):
    """Time inference took, in seconds, over the newest `rows` predictions; `fast` is the share within the promise."""

    rows: int
    median: float
    p95: float
    p99: float
    fast: float


class Overview(NamedTuple):
    """Everything the front page shows."""

    now: datetime
    inference: InferenceStatus | None
    inference_configured: bool
    """Whether an address of inference's metrics is set."""
    versions: list[VersionTraffic]
    current: CurrentVersion | None
    hours: list[HourlyTraffic]
    latency: Latency | None
    run: DriftRun | None
    results: list[DriftResult]
    figures: list[PerformanceFigure]
    jobs: list[JobStatus]
    waiting: list[RecordedVerdict]
    verdicts: list[RecordedVerdict]
    requests: list[RetrainRequest]
    promotions: list[Entry]

    @property
    def last_day(self) -> int:
        """Predictions of the last day."""
        return sum(hour.predictions for hour in self.hours)

    @property
    def model(self) -> str | None:
        """The version in service, as inference itself reports it, else as the log does."""
        if self.inference is not None and self.inference.version is not None:
            return self.inference.version
        return None if self.current is None else self.current.version

    @property
    def answered_before(self) -> VersionTraffic | None:
        """What the version in service answered at any time, also before a rollback; None where that is nothing."""
        return next((version for version in self.versions if version.version == self.model), None)

    @property
    def compared(self) -> list[DriftResult]:
        """The newest run's comparisons of the version in service: drift of a replaced version does not matter."""
        return of_one_version(self.results, self.model)


def gather(
    connection: Connection,
    product: Product,
    now: datetime,
    inference: InferenceStatus | None,
    *,
    inference_configured: bool,
) -> Overview:
    """Read everything the front page shows."""
    versions = traffic.versions(connection)
    run = drift_results.newest_run(connection)
    newest_verdicts = verdicts.history(connection, product.name, RECENT)
    since = now - timedelta(hours=DAY_HOURS)
    return Overview(
        now=now,
        inference=inference,
        inference_configured=inference_configured,
        versions=versions,
        current=traffic.current_version(connection, versions),
        hours=traffic.by_hour(connection, now, DAY_HOURS),
        latency=latency_of(
            traffic.newest_latencies(connection, since, NEWEST_LATENCIES), product.policy.serving.latency_slo_seconds
        ),
        run=run,
        results=[] if run is None else drift_results.results_of(connection, run.period),
        figures=[] if run is None else drift_results.figures_of(connection, run.period),
        jobs=job_runs.statuses(connection),
        waiting=verdicts_that_wait(connection, product, newest_verdicts),
        verdicts=newest_verdicts,
        requests=retrain_requests.newest(connection, RECENT),
        promotions=ledger.ends(connection, product.name, RECENT),
    )


def latency_of(seconds: Sequence[float], promise: float) -> Latency | None:
    """Compute the quantiles of some latencies; None where there are none."""
    if not seconds:
        return None
    ascending = sorted(seconds)
    fast = sum(value <= promise for value in ascending) / len(ascending)
    median, p95, p99 = (_quantile(ascending, share) for share in (0.5, 0.95, 0.99))
    return Latency(len(ascending), median, p95, p99, fast)


def _quantile(ascending: Sequence[float], share: float) -> float:
    return ascending[min(int(share * len(ascending)), len(ascending) - 1)]


VersionedT = TypeVar("VersionedT", DriftResult, PerformanceFigure)


def of_one_version(rows: Sequence[VersionedT], version: str | None) -> list[VersionedT]:
    """Keep the rows of the version in service, else of the one that was written last."""
    if not rows:
        return []
    known = {row.model_version for row in rows}
    wanted = version if version in known else rows[-1].model_version
    return [row for row in rows if row.model_version == wanted]


def one_per_run(figures: Sequence[PerformanceFigure]) -> list[PerformanceFigure]:
    """Keep one figure per run: that of the newest actuals; of two versions that share them, the one over more rows."""
    best: dict[str, PerformanceFigure] = {}
    for figure in figures:
        other = best.get(figure.period)
        if other is None or (figure.until, figure.rows) > (other.until, other.rows):
            best[figure.period] = figure
    return list(best.values())
