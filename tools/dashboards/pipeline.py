"""What makes and changes models: jobs and promotions."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from tools.dashboards.panels import BAD, GOOD, SO_SO, Panel, bar_gauge, dashboard, stat, table, time_series
from tools.dashboards.queries import FAILURES, PREDICT, SECONDS, SHARE, by, quantiles, realised, since


def jobs() -> Dashboard:
    """Every job: when, how long, how often it fails."""
    failed, ran = (f"sum by (job) (increase(beacon_job_{what}_total[1d]))" for what in ("failures", "runs"))
    last_success = since("max by (job) (beacon_job_last_success_timestamp_seconds)")
    periods = f"({last_success}) / max by (job) (beacon_job_period_seconds)"
    health = (
        bar_gauge(
            "Since the last success, in periods",
            "none",
            (periods, "{{job}}"),
            (None, GOOD),
            (2, SO_SO),
            (3, BAD),
            note="At 3 a ticket is written.",
        ),
        time_series("Last success", SECONDS, (last_success, "{{job}}"), note="How long ago."),
        time_series("Failed runs and stages, a day", SHARE, (f"{failed} / ({ran} > 0) or 0 * {ran}", "{{job}}")),
        time_series("Runs and stages, a day", "none", (ran, "{{job}}")),
    )
    work = (
        time_series("Duration of the newest run", SECONDS, by("job", "beacon_job_duration_seconds")),
        time_series("Rows of the newest run", "none", by("job", "beacon_job_rows")),
        time_series("The store answers the console", "none", ("min(beacon_store_up)", "store")),
    )
    others = by("job, stage", 'beacon_job_stage_seconds{job!="retrain"}', "{{job}}: {{stage}}")
    stages = (
        time_series("Retraining, by stage", SECONDS, by("stage", 'beacon_job_stage_seconds{job="retrain"}')),
        time_series("Other jobs, by stage", SECONDS, others),
    )
    retraining = (time_series("Requests to retrain", "none", by("state", "beacon_retrain_requests")), *_gate())
    rows = {"Health": health, "Work": work, "Stages": stages, "Retraining": retraining}
    return dashboard("beacon-jobs", "jobs and pipeline", "Do the jobs run, and what do they cost?", rows)


def promotion(unit: str) -> Dashboard:
    """Which model served when, and what promotions came to."""
    champions = 'beacon_model_info{role="champion"}'
    newest_end = f"{since('max(beacon_promotion_last_timestamp_seconds)')} or vector(0)"
    now = (
        table(
            "Models in service, and how many servers have them",
            "count by (name, model_version, role, sha256) (beacon_model_info)",
        ),
        stat("Trained", SECONDS, since("min(beacon_model_trained_timestamp_seconds)"), note="How long ago."),
        stat(
            "Versions that answer",
            "none",
            f"count(count by (model_version) ({champions}))",
            (None, GOOD),
            (2, SO_SO),
        ),
        stat("Newest end of a promotion", SECONDS, newest_end, note="How long ago; 0: none yet."),
    )
    ended, swaps = "increase(beacon_promotion_total[1d])", "increase(beacon_model_swaps_total[1h])"
    history = (
        time_series(
            "Servers by version", "none", by("model_version", champions, "version {{model_version}}", of="count")
        ),
        time_series("Promotions, a day", "none", by("outcome", ended, of="sum")),
        bar_gauge("Promotions, ever", "none", by("outcome", "beacon_promotion_total")),
        time_series(
            "Models taken into service, or not", "none", by("outcome", swaps, of="sum"), note="Tries of an hour."
        ),
    )
    effect = (
        time_series("Failures", SHARE, FAILURES),
        time_series("Slowest 1 %", SECONDS, *quantiles("http_request_duration_seconds", 0.99, labels=PREDICT)),
        time_series(f"Predicted values{unit}", "none", *quantiles("model_prediction_value", 0.1, 0.5, 0.9)),
        time_series(f"Mean absolute error{unit}", "none", realised("mae")),
    )
    rows = {"Now": now, "History": history, "Effect": effect, "Gate": _gate()}
    return dashboard("beacon-promotion", "promotions", "Which model serves, since when, and was it better?", rows)


def _gate() -> tuple[Panel, ...]:
    """The gate's newest verdict, on the dashboard of jobs and on that of promotions."""
    checks = by("check", "beacon_gate_verdict", of="min")
    return (
        time_series("Newest verdict of the gate", "none", by("outcome", "beacon_gate_outcome")),
        bar_gauge("Checks of the newest verdict", "none", checks, (None, BAD), (1, GOOD), note="1: passed."),
    )
