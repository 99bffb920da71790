"""The front page's facts, gathered in one go, and the judgement over them: well or not well, and why."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, TypeVar

from sqlalchemy import Connection

from beacon_console import traffic
from beacon_console.drift import queries as drift
from beacon_console.formats import ago, duration, number, share, words
from beacon_console.jobs import queries as jobs
from beacon_console.models import decisions
from beacon_console.overview.inference import Live
from beacon_core.data import ledger
from beacon_core.data.job_runs import FAILED
from beacon_core.domain import ledger_entries
from beacon_core.domain.product import Product

STUCK_SECONDS = 6 * 3600.0
"""A stage that runs for longer was killed, or will not end."""
MOST_FAILURES = 0.01
"""Share of requests answered with a 5xx, above which inference is not well."""
LEAST_FAST = 0.99
"""Share of predictions within the latency promise, below which it is not kept."""
MAIN_EFFECT = "hellinger"
ERROR = "mae"
DRIFT_JOB = "drift"
EVERY = {DRIFT_JOB: timedelta(hours=1), "materialize": timedelta(days=1)}
"""How often a job is to succeed; a job is late after three times that."""


class Finding(NamedTuple):
    """One reason why the product is not well, and the page that shows it."""

    sentence: str
    link: str


class Overview(NamedTuple):
    """Everything the front page shows."""

    now: datetime
    live: Live | None
    asked: bool
    """Whether inference was asked for its metrics."""
    versions: list[traffic.Version]
    serving: traffic.Serving | None
    hours: list[traffic.Hour]
    latency: traffic.Latency | None
    run: drift.Run | None
    results: list[drift.Result]
    figures: list[drift.Figure]
    jobs: list[jobs.Job]
    waiting: list[decisions.Verdict]
    verdicts: list[decisions.Verdict]
    requests: list[decisions.RetrainRequest]
    promotions: list[ledger_entries.Entry]

    @property
    def last_day(self) -> int:
        """Predictions of the last day."""
        return sum(hour.predictions for hour in self.hours)

    @property
    def model(self) -> str | None:
        """The version in service, as inference itself says it, else as the log does."""
        if self.live is not None and self.live.version is not None:
            return self.live.version
        return None if self.serving is None else self.serving.version

    @property
    def compared(self) -> list[drift.Result]:
        """The newest run's comparisons of the version in service: what was replaced may drift as it likes."""
        return of_one_version(self.results, self.model)


def gather(connection: Connection, product: Product, now: datetime, live: Live | None, *, asked: bool) -> Overview:
    """Read everything the front page shows."""
    versions = traffic.versions_of(connection)
    newest = next(iter(drift.runs_of(connection, 1)), None)
    verdicts = decisions.verdicts_of(connection, product)
    return Overview(
        now=now,
        live=live,
        asked=asked,
        versions=versions,
        serving=traffic.serving_of(connection, versions),
        hours=traffic.hours_of(connection, now),
        latency=traffic.latency_of(connection, now, product.policy.serving.latency_slo_seconds),
        run=newest,
        results=[] if newest is None else drift.results_of(connection, newest.period),
        figures=[] if newest is None else drift.figures_of(connection, newest.period),
        jobs=jobs.jobs_of(connection),
        waiting=decisions.waiting(connection, product, verdicts),
        verdicts=verdicts,
        requests=decisions.requests_of(connection),
        promotions=ledger.ends(connection, product.name, decisions.RECENT),
    )


def judge(overview: Overview, product: Product) -> list[Finding]:
    """Every reason why the product is not well, the worst first; none means that it is."""
    return [*_serving(overview, product), *_model(overview), *_jobs(overview)]


def _serving(overview: Overview, product: Product) -> list[Finding]:
    live, latency = overview.live, overview.latency
    found = []
    if overview.asked and live is None:
        found.append(Finding("inference does not answer", "#traffic"))
    if live is not None and live.version is None:
        found.append(Finding("no model is in service", "#model"))
    if live is not None and live.failures > MOST_FAILURES * live.requests:
        rate = share(live.failures / live.requests)
        found.append(Finding(f"inference answered {rate} of its requests with an error of its own", "#traffic"))
    if live is not None and live.dropped:
        found.append(Finding(f"{number(live.dropped)} predictions were answered and never logged", "#traffic"))
    if latency is not None and latency.fast < LEAST_FAST:
        promise = duration(product.policy.serving.latency_slo_seconds)
        found.append(Finding(f"only {share(latency.fast)} of the predictions take less than {promise}", "#traffic"))
    return found


def _model(overview: Overview) -> list[Finding]:
    found = []
    drifted = sorted({_place(result) for result in overview.compared if result.confirmed})
    if drifted:
        found.append(Finding(f"drift is confirmed in {words(drifted)}", "#drift"))
    elif overview.run is not None and overview.run.state == "drift":
        found.append(Finding("the newest drift run found drift", f"/drift/{overview.run.period}"))
    if overview.run is not None and overview.run.state == "error":
        found.append(Finding("the model's error is beyond its limit", "#error"))
    return found


def _place(result: drift.Result) -> str:
    return {"prediction": "the predictions", "target": "the actuals"}.get(result.kind, result.feature)


def _jobs(overview: Overview) -> list[Finding]:
    found = []
    for job in overview.jobs:
        if any(stage.state == FAILED for stage in job.stages if stage.period == job.newest.period):
            found.append(Finding(f"the last run of {job.name} failed", f"/jobs/{job.newest.id}"))
        elif late(job, overview.now):
            last = "never" if job.succeeded_at is None else ago(job.succeeded_at, overview.now)
            found.append(Finding(f"{job.name} is late: it last succeeded {last}", f"/jobs/{job.newest.id}"))
        elif jobs.slow([job.newest], overview.now, STUCK_SECONDS):
            found.append(Finding(f"{job.name} has run for {_age(job, overview.now)}", f"/jobs/{job.newest.id}"))
    return found


def late(job: jobs.Job, now: datetime) -> bool:
    """Whether a job that is to run by the clock has not succeeded for three times its rhythm."""
    rhythm = EVERY.get(job.name)
    if rhythm is None:
        return False
    return job.succeeded_at is None or now - job.succeeded_at > 3 * rhythm


def _age(job: jobs.Job, now: datetime) -> str:
    return duration((now - job.newest.started_at).total_seconds())


class FeatureRow(NamedTuple):
    """One row of the drift table: a feature (or the predictions, or the actuals) with all its effects."""

    kind: str
    name: str
    title: str
    key: bool
    main: drift.Result | None
    """The shift of the distribution; None when this run did not compare it."""
    others: list[drift.Result]
    """Further effects that give an alarm."""
    trend: list[float | None]
    """The main score over the runs."""

    @property
    def confirmed(self) -> bool:
        """Whether any of its alarms is confirmed."""
        return any(result.confirmed for result in (self.main, *self.others) if result is not None)

    @property
    def shown(self) -> bool:
        """Whether it stands on the front page without being asked for."""
        return self.key or self.alarm or self.confirmed

    @property
    def alarm(self) -> bool:
        """Whether any of its effects is above its threshold now."""
        return any(result.alarm for result in (self.main, *self.others) if result is not None)


def feature_rows(
    overview: Overview, product: Product, window: str, periods: Sequence[str], trend: drift.Trend
) -> list[FeatureRow]:
    """Make the drift table: key features first, in the product's order of importance, then the others."""
    titles = {feature.name: feature.title for feature in product.features}
    others = [name for name in product.feature_names if name not in product.key_features]
    places = [("data", name, titles[name], name in product.key_features) for name in (*product.key_features, *others)]
    places += [("prediction", "Predictions", f"what the model answers, {product.target.unit}", True)]
    places += [("target", "Actuals", f"{product.target.title}, {product.target.unit}", True)]
    results = [result for result in overview.compared if result.window == window]
    rows = []
    for kind, name, title, key in places:
        mine = [result for result in results if result.kind == kind and (kind != "data" or result.feature == name)]
        main = next((result for result in mine if result.effect == MAIN_EFFECT), None)
        scores = {} if main is None else trend.get((kind, main.feature, MAIN_EFFECT), {})
        alarms = [result for result in mine if result is not main and result.alarm]
        rows.append(FeatureRow(kind, name, title, key, main, alarms, [scores.get(period) for period in periods]))
    return rows


VersionedT = TypeVar("VersionedT", drift.Result, drift.Figure)


def of_one_version(found: Sequence[VersionedT], version: str | None) -> list[VersionedT]:
    """Keep what is about the version in service, else about the one that was written last."""
    if not found:
        return []
    known = {item.model_version for item in found}
    wanted = version if version in known else found[-1].model_version
    return [item for item in found if item.model_version == wanted]


def of_one_run_each(figures: Sequence[drift.Figure]) -> list[drift.Figure]:
    """Keep one figure a run: that of the newest actuals; of two versions that share them, the one over more rows."""
    best: dict[str, drift.Figure] = {}
    for figure in figures:
        other = best.get(figure.period)
        if other is None or (figure.until, figure.rows) > (other.until, other.rows):
            best[figure.period] = figure
    return list(best.values())


def summary(overview: Overview) -> str:
    """Say in one line what goes on, whether or not the product is well."""
    told = [f"Model {overview.model} serves" if overview.model else "No model is known to serve"]
    told.append(f"{number(overview.last_day)} predictions in the last 24 hours")
    if overview.latency is not None:
        told.append(f"95 % of them within {duration(overview.latency.p95)}")
    if overview.run is None:
        told.append("no drift run yet")
    elif not any(result.confirmed for result in overview.compared):
        told.append("no drift confirmed")
    errors = [figure for figure in overview.figures if (figure.metric, figure.segment) == (ERROR, "")]
    if errors:
        newest = of_one_version(errors, overview.model)[-1]
        told.append(f"mean absolute error {number(newest.value)} over {number(newest.rows)} actuals")
    else:
        told.append("no actuals yet")
    return "; ".join(told) + "."
