"""Whether the product is healthy, and why not; and the state of it in one line."""

from datetime import datetime, timedelta
from typing import NamedTuple

from beacon_console.formats import ago, duration, join_words, number, share
from beacon_console.overview.facts import Overview, of_one_version
from beacon_core.data.drift_results import DriftResult
from beacon_core.data.job_runs import FAILED, RUNNING, JobStatus
from beacon_core.domain.precision import with_unit
from beacon_core.domain.product import Product

STUCK_SECONDS = 6 * 3600.0
"""A stage that runs for longer was killed, or will not end."""
MOST_FAILURES = 0.01
"""Share of requests answered with a 5xx, above which inference is unhealthy."""
LEAST_FAST = 0.99
"""Share of predictions within the latency promise, below which it is not kept."""
ERROR_METRIC = "mae"
JOB_PERIODS = {"drift": timedelta(hours=1), "materialize": timedelta(days=1)}
"""How often a job is to succeed; a job is late after three times that."""


class HealthIssue(NamedTuple):
    """One reason why the product is unhealthy, and the page that shows it."""

    sentence: str
    link: str


def find_issues(overview: Overview, product: Product) -> list[HealthIssue]:
    """Every reason why the product is unhealthy, the worst first; none means that it is healthy."""
    return [*_serving_issues(overview, product), *_model_issues(overview), *_job_issues(overview)]


def _serving_issues(overview: Overview, product: Product) -> list[HealthIssue]:
    inference, latency = overview.inference, overview.latency
    issues = []
    if overview.inference_configured and inference is None:
        issues.append(HealthIssue("inference does not answer", "#traffic"))
    if inference is not None and inference.version is None:
        issues.append(HealthIssue("no model is in service", "#model"))
    if inference is not None and inference.failures > MOST_FAILURES * inference.requests:
        rate = share(inference.failures / inference.requests)
        issues.append(HealthIssue(f"inference answered {rate} of its requests with an internal error", "#traffic"))
    if inference is not None and inference.dropped:
        sentence = f"{number(inference.dropped)} predictions were answered and never logged"
        issues.append(HealthIssue(sentence, "#traffic"))
    if latency is not None and latency.fast < LEAST_FAST:
        promise = duration(product.policy.serving.latency_slo_seconds)
        sentence = f"only {share(latency.fast)} of the predictions take less than {promise}"
        issues.append(HealthIssue(sentence, "#traffic"))
    return issues


def _model_issues(overview: Overview) -> list[HealthIssue]:
    issues = []
    drifted = sorted({_subject(result) for result in overview.compared if result.confirmed})
    if drifted:
        issues.append(HealthIssue(f"drift is confirmed in {join_words(drifted)}", "#drift"))
    elif overview.run is not None and overview.run.state == "drift":
        issues.append(HealthIssue("the newest drift run found drift", f"/drift/{overview.run.period}"))
    if overview.run is not None and overview.run.state == "error":
        issues.append(HealthIssue("the model's error is above its limit", "#error"))
    return issues


def _subject(result: DriftResult) -> str:
    return {"prediction": "the predictions", "target": "the actuals"}.get(result.kind, result.feature)


def _job_issues(overview: Overview) -> list[HealthIssue]:
    issues = []
    for job in overview.jobs:
        page = f"/jobs/{job.newest.id}"
        if any(stage.state == FAILED for stage in job.stages if stage.period == job.newest.period):
            issues.append(HealthIssue(f"the last run of {job.name} failed", page))
        elif is_late(job, overview.now):
            last = "never" if job.succeeded_at is None else ago(job.succeeded_at, overview.now)
            issues.append(HealthIssue(f"{job.name} is late: it last succeeded {last}", page))
        elif job.newest.state == RUNNING and (age := _age(job, overview.now)) > STUCK_SECONDS:
            issues.append(HealthIssue(f"{job.name} has run for {duration(age)}", page))
    return issues


def is_late(job: JobStatus, now: datetime) -> bool:
    """Whether a job that is to run by the clock has not succeeded for three times its period."""
    period = JOB_PERIODS.get(job.name)
    if period is None:
        return False
    return job.succeeded_at is None or now - job.succeeded_at > 3 * period


def _age(job: JobStatus, now: datetime) -> float:
    return (now - job.newest.started_at).total_seconds()


def summary(overview: Overview, unit: str) -> str:
    """Describe the state in one line, whether or not the product is healthy; `unit` is the target's."""
    parts = [f"Model {overview.model} serves" if overview.model else "No model is known to serve"]
    parts.append(f"{number(overview.last_day)} predictions in the last 24 hours")
    if overview.latency is not None:
        parts.append(f"95 % of them within {duration(overview.latency.p95)}")
    if overview.run is None:
        parts.append("no drift run yet")
    elif not any(result.confirmed for result in overview.compared):
        parts.append("no drift confirmed")
    errors = [figure for figure in overview.figures if (figure.metric, figure.segment) == (ERROR_METRIC, "")]
    if errors:
        newest = of_one_version(errors, overview.model)[-1]
        parts.append(f"mean absolute error {with_unit(number(newest.value), unit)} over {number(newest.rows)} actuals")
    else:
        parts.append("no actuals yet")
    return "; ".join(parts) + "."
