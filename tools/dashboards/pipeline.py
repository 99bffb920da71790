"""What makes and changes models: jobs and promotions."""

from tools.dashboards.grafana import Dashboard, Panel, Row, panel, stat
from tools.dashboards.queries import BAD, FAILURES, GOOD, PREDICT, SECONDS, SHARE, SO_SO, quantiles, realised


def jobs() -> Dashboard:
    """Every job: when, how long, how often it fails."""
    failed, ran = (f"sum by (job) (increase(beacon_job_{what}_total[1d]))" for what in ("failures", "runs"))
    late = (
        "(time() - max by (job) (beacon_job_last_success_timestamp_seconds)) / max by (job) (beacon_job_period_seconds)"
    )
    health = (
        panel(
            "Since the last success, in periods",
            "none",
            (late, "{{job}}"),
            kind="bargauge",
            levels=((None, GOOD), (2, SO_SO), (3, BAD)),
            note="At 3 a ticket is written.",
        ),
        panel(
            "Last success",
            SECONDS,
            ("time() - max by (job) (beacon_job_last_success_timestamp_seconds)", "{{job}}"),
            note="How long ago.",
        ),
        panel(
            "Failed runs and stages, a day",
            SHARE,
            (
                f"{failed} / ({ran} > 0) or 0 * {ran}",
                "{{job}}",
            ),
        ),
        panel("Runs and stages, a day", "none", ("sum by (job) (increase(beacon_job_runs_total[1d]))", "{{job}}")),
    )
    work = (
        panel("Duration of the newest run", SECONDS, ("max by (job) (beacon_job_duration_seconds)", "{{job}}")),
        panel("Rows of the newest run", "none", ("max by (job) (beacon_job_rows)", "{{job}}")),
        panel("The store answers the console", "none", ("min(beacon_store_up)", "store")),
    )
    stages = (
        panel(
            "Retraining, by stage", SECONDS, ('max by (stage) (beacon_job_stage_seconds{job="retrain"})', "{{stage}}")
        ),
        panel(
            "Other jobs, by stage",
            SECONDS,
            ('max by (job, stage) (beacon_job_stage_seconds{job!="retrain"})', "{{job}}: {{stage}}"),
        ),
    )
    pipeline = (
        panel("Requests to retrain", "none", ("max by (state) (beacon_retrain_requests)", "{{state}}")),
        *_gate(),
    )
    return Dashboard(
        "beacon-jobs",
        "jobs and pipeline",
        "Do the jobs run, and what do they cost?",
        (Row("Health", health), Row("Work", work), Row("Stages", stages), Row("Retraining", pipeline)),
    )


def promotion() -> Dashboard:
    """Which model served when, and what promotions came to."""
    ended = "sum by (outcome) (increase(beacon_promotion_total[1d]))"
    now = (
        panel(
            "Models in service, and how many servers have them",
            "none",
            "count by (name, model_version, role, sha256) (beacon_model_info)",
            kind="table",
        ),
        stat("Trained", SECONDS, "time() - min(beacon_model_trained_timestamp_seconds)", note="How long ago."),
        stat(
            "Versions that answer",
            "none",
            'count(count by (model_version) (beacon_model_info{role="champion"}))',
            (None, GOOD),
            (2, SO_SO),
        ),
        stat(
            "Newest end of a promotion",
            SECONDS,
            "time() - max(beacon_promotion_last_timestamp_seconds) or vector(0)",
            note="How long ago; 0: none yet.",
        ),
    )
    history = (
        panel(
            "Servers by version",
            "none",
            ('count by (model_version) (beacon_model_info{role="champion"})', "version {{model_version}}"),
        ),
        panel("Promotions, a day", "none", (ended, "{{outcome}}")),
        panel(
            "Promotions, ever", "none", ("max by (outcome) (beacon_promotion_total)", "{{outcome}}"), kind="bargauge"
        ),
        panel(
            "Models taken into service, or not",
            "none",
            ("sum by (outcome) (increase(beacon_model_swaps_total[1h]))", "{{outcome}}"),
            note="Tries of an hour.",
        ),
    )
    effect = (
        panel(
            "Failures",
            SHARE,
            (
                FAILURES,
                "share of 5xx",
            ),
        ),
        panel("Slowest 1 %", SECONDS, *quantiles("http_request_duration_seconds", 0.99, labels=PREDICT)),
        panel("Predicted values", "none", *quantiles("model_prediction_value", 0.1, 0.5, 0.9)),
        panel("Mean absolute error", "none", realised("mae")),
    )
    return Dashboard(
        "beacon-promotion",
        "promotions",
        "Which model serves, since when, and was it better?",
        (Row("Now", now), Row("History", history), Row("Effect", effect), Row("Gate", _gate())),
    )


def _gate() -> tuple[Panel, ...]:
    """What the gate said last; both who looks at the pipeline and who looks at promotions ask it."""
    return (
        panel("Newest verdict of the gate", "none", ("max by (outcome) (beacon_gate_outcome)", "{{outcome}}")),
        panel(
            "Checks of the newest verdict",
            "none",
            ("min by (check) (beacon_gate_verdict)", "{{check}}"),
            kind="bargauge",
            levels=((None, BAD), (1, GOOD)),
            note="1: passed.",
        ),
    )
