"""The store's newest results as metrics, read at every scrape, so that a job that stopped is visible."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from beacon_console.overview.health import JOB_PERIODS
from beacon_core.data import actuals, drift_results, job_runs, ledger, retrain_requests, verdicts
from beacon_core.data.approvals import PASS
from beacon_core.data.client import DatabaseClient
from beacon_core.data.database import Connection, DatabaseUnavailableError
from beacon_core.data.drift_results import DriftResult, PerformanceFigure
from beacon_core.data.size import database_bytes
from beacon_core.domain import ledger_entries
from beacon_core.domain.product import Product
from beacon_core.observability import metrics
from beacon_core.observability.metrics import Metric

OUTCOMES = (PASS, "inconclusive", "fail")
MOST_FEATURES, MOST_SEGMENTS = 100, 50
"""So many features and segments have series of their own: labels must not grow with the data."""
Samples = Iterable[tuple[tuple[str, ...], float | None]]


class StoreCollector(Collector):
    """Drift, performance, jobs, verdicts and promotions; without the store, only that it is down."""

    def __init__(self, database: DatabaseClient, product: Product, registry: CollectorRegistry) -> None:
        self._database = database
        self._product = product
        registry.register(self)

    def describe(self) -> Iterable[Family]:
        """Name nothing beforehand: starting must not need the store."""
        return []

    def collect(self) -> Iterable[Family]:
        try:
            with self._database.connect() as connection:
                families = [*_drift(connection), *_jobs(connection), *_verdicts(connection, self._product)]
                families += _promotions(connection, self._product)
                families.append(_family(metrics.DATABASE_BYTES, [((), database_bytes(connection))]))
            up = 1.0
        except DatabaseUnavailableError:
            families, up = [], 0.0
        return [_family(metrics.STORE_UP, [((), up)]), *families]


def _drift(connection: Connection) -> list[Family]:
    newest = drift_results.newest_run(connection)
    results = [] if newest is None else drift_results.results_of(connection, newest.period)
    figures = [] if newest is None else drift_results.figures_of(connection, newest.period)
    features, segments = _worst_features(results), _largest_segments(figures)
    places = [
        ((result.kind, result.feature, result.effect, result.window), result)
        for result in results
        if result.kind != "data" or result.feature in features
    ]
    errors = [
        ((figure.metric, figure.window, figure.segment), figure) for figure in figures if figure.segment in segments
    ]
    return [
        _family(metrics.DRIFT_SCORE, ((labels, result.score) for labels, result in places)),
        _family(metrics.DRIFT_THRESHOLD, ((labels, result.threshold) for labels, result in places)),
        _family(metrics.DRIFT_CONFIRMED, ((labels, float(result.confirmed)) for labels, result in places)),
        _family(metrics.DRIFT_ROWS, _rows(results)),
        _family(metrics.MODEL_ERROR, ((labels, figure.value) for labels, figure in errors)),
        _family(metrics.ACTUAL_LAST, [((), _seconds(actuals.last_received(connection)))]),
        _family(metrics.MODEL_ERROR_ROWS, ((labels, float(figure.rows)) for labels, figure in errors)),
    ]


def _worst_features(results: Iterable[DriftResult]) -> frozenset[str]:
    """The features nearest to an alarm, at most `MOST_FEATURES`: each is some dozen series."""
    worst: dict[str, float] = {}
    for result in results:
        share = (result.score or 0.0) / (result.threshold or 1.0) + result.confirmed
        worst[result.feature] = max(worst.get(result.feature, 0.0), share)
    return frozenset(sorted(worst, key=lambda name: (-worst[name], name))[:MOST_FEATURES])


def _largest_segments(figures: Iterable[PerformanceFigure]) -> frozenset[str]:
    """The whole traffic, and the segments with the most rows, at most `MOST_SEGMENTS`."""
    most: dict[str, int] = {}
    for figure in figures:
        most[figure.segment] = max(most.get(figure.segment, 0), figure.rows)
    most.pop("", None)
    return frozenset(["", *sorted(most, key=lambda name: (-most[name], name))[:MOST_SEGMENTS]])


def _rows(results: Iterable[DriftResult]) -> Samples:
    most: dict[str, int] = {}
    for result in results:
        most[result.window] = max(most.get(result.window, 0), result.rows)
    return [((window,), float(rows)) for window, rows in most.items()]


def _jobs(connection: Connection) -> list[Family]:
    found = job_runs.statuses(connection)
    stages = [stage for job in found for stage in job.stages]
    return [
        _family(metrics.JOB_LAST_SUCCESS, (((job.name,), _seconds(job.succeeded_at)) for job in found)),
        _family(metrics.JOB_DURATION, (((job.name,), job.seconds) for job in found)),
        _family(metrics.JOB_PERIOD, (((name,), period.total_seconds()) for name, period in JOB_PERIODS.items())),
        _family(metrics.JOB_ROWS, (((job.name,), _float(job.newest.rows)) for job in found)),
        _family(metrics.JOB_RUNS, (((job.name,), float(job.ended)) for job in found)),
        _family(metrics.JOB_FAILURES, (((job.name,), float(job.failures)) for job in found)),
        _family(metrics.JOB_STAGE, (((stage.job, stage.stage), stage.seconds) for stage in stages)),
    ]


def _verdicts(connection: Connection, product: Product) -> list[Family]:
    newest = next(iter(verdicts.history(connection, product.name, 1)), None)
    checks = [] if newest is None else newest.verdict.get("checks", [])
    passed = [((check["name"],), float(check["outcome"] == PASS)) for check in checks]
    outcome = "" if newest is None else newest.outcome
    counts = retrain_requests.counts(connection)
    return [
        _family(metrics.GATE_VERDICT, passed),
        _family(metrics.GATE_OUTCOME, [((name,), float(name == outcome)) for name in OUTCOMES if outcome]),
        _family(metrics.RETRAIN_REQUESTS, (((state,), float(count)) for state, count in counts.items())),
    ]


def _promotions(connection: Connection, product: Product) -> list[Family]:
    counts = dict.fromkeys(ledger_entries.ENDS, 0) | {
        end: count for end, count, _ in ledger.counts(connection, product.name)
    }
    newest = [((end,), _seconds(moment)) for end, _, moment in ledger.counts(connection, product.name)]
    return [
        _family(metrics.PROMOTIONS, (((end,), float(count)) for end, count in counts.items())),
        _family(metrics.PROMOTION_LAST, newest),
    ]


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _float(value: Any) -> float | None:
    return None if value is None else float(value)


def _family(metric: Metric, samples: Samples) -> Family:
    """Make the metric with its samples; what is not known has no sample."""
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=metric.labels)
    # Several model versions may have answered within a window: the newest one's result, which comes last, counts.
    for labels, value in dict(samples).items():
        if value is not None:
            family.add_metric(labels, value)
    return family
