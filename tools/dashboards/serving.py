"""What serves: the service and its objectives, the way of a request, features."""

from beacon_core.domain.errors import STATUS_OF
from beacon_core.observability.metrics import STAGES
from tools.dashboards.grafana import Dashboard, Panel, Row, panel, stat
from tools.dashboards.queries import (
    BAD,
    FAILURES,
    GOOD,
    PER_SECOND,
    PREDICT,
    RATE,
    SECONDS,
    SHARE,
    SO_SO,
    heatmap,
    limit,
    of_predictions,
    quantiles,
)


def service() -> Dashboard:
    """Whether users are served, and what of the error budget is left."""
    failed, asked = f'http_requests_total{{{PREDICT}, status=~"5.."}}', f"http_requests_total{{{PREDICT}}}"
    budget = f"1 - scalar({limit('availability_slo')})"
    lost = f"sum(increase({failed}[30d])) / sum(increase({asked}[30d]))"
    burns = [
        (f"beacon:failures:ratio{window} / ({budget})", f"failures, {window}") for window in ("5m", "1h", "6h", "3d")
    ]
    now = (
        stat("Availability, 30 days", SHARE, f"1 - {lost}", (None, BAD), (0.99, SO_SO), (0.995, GOOD)),
        stat("Error budget left, 30 days", SHARE, f"1 - ({lost}) / ({budget})", (None, BAD), (0.2, SO_SO), (0.5, GOOD)),
        stat("Predictions asked for", PER_SECOND, f"sum(rate({asked}{RATE}))"),
        stat("99 % answered within", SECONDS, quantiles("http_request_duration_seconds", 0.99, labels=PREDICT)[0][0]),
        stat("Probes that succeed", SHARE, "avg(probe_success)", (None, BAD), (1, GOOD)),
        stat(
            "Alerts that fire",
            "none",
            'count(ALERTS{alertstate="firing", alertname!="Watchdog"}) or vector(0)',
            (None, GOOD),
            (1, BAD),
        ),
    )
    requests = (
        panel("Requests by status", PER_SECOND, (f"sum by (status) (rate({asked}{RATE}))", "{{status}}")),
        panel(
            "Failures",
            SHARE,
            (FAILURES, "share of 5xx"),
            (budget, "budget"),
        ),
        panel(
            "Errors by code",
            PER_SECOND,
            (
                f"sum by (error_type) (rate(api_errors_total{RATE})) > 0 or sum(rate(api_errors_total{RATE}))",
                "{{error_type}}",
            ),
            note="Codes of 4xx are the clients'; the line without a name is the sum.",
        ),
    )
    fast = f'sum(rate(http_request_duration_seconds_bucket{{{PREDICT}, le="0.2"}}{RATE}))'
    latency = (
        panel(
            "Time to answer",
            SECONDS,
            *quantiles("http_request_duration_seconds", 0.5, 0.9, 0.99, labels=PREDICT),
            (limit("latency_slo_seconds"), "promise"),
            exemplars=True,
            note="A dot is a trace: click it.",
        ),
        heatmap("Distribution of the time to answer", SECONDS, "http_request_duration_seconds", PREDICT),
        panel(
            "Answered within the promise",
            SHARE,
            (f"{fast} / sum(rate(http_request_duration_seconds_count{{{PREDICT}}}{RATE}))", "share"),
        ),
    )
    slo = (
        panel(
            "Burn of the error budget", "none", *burns, note="1 uses up the budget in just its 30 days; 14.4 in two."
        ),
        panel("Slow answers", SHARE, ("beacon:slow:ratio5m", "5m"), ("beacon:slow:ratio1h", "1h")),
        panel(
            "Probes",
            SECONDS,
            ("max by (instance) (probe_duration_seconds)", "{{instance}}"),
            note="Time of a synthetic prediction, by way.",
        ),
        panel(
            "Probes held against a golden answer", SHARE, ("avg by (instance) (beacon_probe_compared)", "{{instance}}")
        ),
    )
    processes = (
        panel(
            "Memory",
            "bytes",
            ("max by (job) (process_resident_memory_bytes)", "{{job}}"),
            ("max by (job) (beacon_peak_memory_bytes)", "{{job}}, ever"),
        ),
        panel("CPU", "none", (f"sum by (job) (rate(process_cpu_seconds_total{RATE}))", "{{job}}"), note="Cores."),
        panel(
            "Targets that answer Prometheus",
            "none",
            ("sum by (job) (up)", "{{job}}"),
            ("min(beacon_store_up)", "the console's store"),
        ),
        panel(
            "Builds, and how many processes run them",
            "none",
            "sum by (service, version, revision) (beacon_build_info)",
            kind="table",
        ),
    )
    rows = (Row("Now", now), Row("Requests", requests), Row("Latency", latency), Row("Objectives", slo))
    return Dashboard(
        "beacon-service",
        "service health and objectives",
        "Are users served, and how much may still go wrong?",
        (*rows, Row("Processes", processes)),
    )


def requests() -> Dashboard:
    """The way of a request, a row a stage."""
    total, count = (f"sum by (stage) (rate(beacon_stage_seconds_{part}{RATE}))" for part in ("sum", "count"))
    refusals = "|".join(code for code, status in STATUS_OF.items() if status in {400, 422})
    own: dict[str, tuple[Panel, ...]] = {
        "validate": (
            panel(
                "Refused for what was sent",
                PER_SECOND,
                (
                    f'sum by (error_type) (rate(api_errors_total{{{PREDICT}, error_type=~"{refusals}"}}{RATE}))',
                    "{{error_type}}",
                ),
            ),
        ),
        "lookup": (
            panel(
                "Values looked up", "ops", (f"sum by (status) (rate(beacon_feature_lookups_total{RATE}))", "{{status}}")
            ),
            panel(
                "Requests that failed for the features",
                PER_SECOND,
                (
                    f'sum(rate(api_errors_total{{error_type="feature_store_unavailable"}}{RATE}))',
                    "feature_store_unavailable",
                ),
            ),
        ),
        "impute": (
            panel("Values imputed", "ops", (f"sum by (feature) (rate(model_imputations_total{RATE}))", "{{feature}}")),
        ),
        "predict": (
            panel("Time in the model", SECONDS, *quantiles("model_inference_latency_seconds", 0.5, 0.99)),
            panel(
                "Rows predicted",
                "ops",
                (f"sum by (model_version) (rate(model_predictions_total{RATE}))", "version {{model_version}}"),
            ),
        ),
        "respond": (
            panel(
                "Answers",
                PER_SECOND,
                (f'sum by (endpoint) (rate(http_requests_total{{{PREDICT}, status="200"}}{RATE}))', "{{endpoint}}"),
            ),
        ),
        "log": (
            panel("Records that wait in the spool", "none", ("sum(beacon_prediction_log_spool_records)", "records")),
            panel(
                "Records shipped",
                "ops",
                (f"sum(rate(beacon_prediction_log_shipped_total{RATE}))", "shipped"),
                (f"sum(rate(beacon_prediction_log_ship_failures_total{RATE}))", "failed tries"),
                (f"sum(rate(beacon_prediction_log_dropped_total{RATE}))", "dropped"),
                (f"sum(rate(beacon_prediction_log_quarantined_total{RATE}))", "not to be parsed"),
            ),
        ),
    }
    whole = (
        panel("Mean time of each stage", SECONDS, (f"{total} / {count}", "{{stage}}")),
        panel("Slowest 1 % of each stage", SECONDS, *quantiles("beacon_stage_seconds", 0.99, by="stage")),
    )
    rows = [Row("All stages", whole)]
    for stage in STAGES:
        times = panel(
            f"Time to {stage}" if stage != "lookup" else "Time to look up",
            SECONDS,
            *quantiles("beacon_stage_seconds", 0.5, 0.9, 0.99, labels=f'stage="{stage}"'),
        )
        rows.append(Row(stage, (times, *own[stage])))
    return Dashboard(
        "beacon-requests", "the way of a request", "Where is the time spent, and where do requests fail?", tuple(rows)
    )


def features() -> Dashboard:
    """Feature serving: reads, ages, freshness."""
    status = f"sum by (status) (rate(beacon_feature_lookups_total{RATE}))"
    reads = (
        panel(
            "Requests",
            PER_SECOND,
            (f'sum by (status) (rate(http_requests_total{{endpoint="/get-online-features"}}{RATE}))', "{{status}}"),
        ),
        panel(
            "Time to answer",
            SECONDS,
            *quantiles("http_request_duration_seconds", 0.5, 0.99, labels='endpoint="/get-online-features"'),
            exemplars=True,
        ),
        panel("Reads of the online store", SECONDS, *quantiles("beacon_feature_store_seconds", 0.5, 0.99)),
    )
    values = (
        panel(
            "Values by status",
            SHARE,
            (f"{status} / on () group_left () (sum(rate(beacon_feature_lookups_total{RATE})) > 0)", "{{status}}"),
        ),
        panel("Age of the values served", SECONDS, *quantiles("beacon_feature_age_seconds", 0.5, 0.99)),
        panel("Imputed, by feature", SHARE, of_predictions("model_imputations_total", "feature")),
    )
    fresh = (
        panel(
            "Since the last materialization",
            SECONDS,
            ("time() - min by (view) (beacon_feature_materialized_timestamp_seconds)", "{{view}}"),
            (f"3600 * {limit('feature_age_hours')}", "limit"),
        ),
        panel(
            "Failed reads of the registry",
            "none",
            ("sum(increase(beacon_feature_registry_failures_total[1h]))", "an hour"),
        ),
        panel(
            "Materialization", SECONDS, ('max by (stage) (beacon_job_stage_seconds{job="materialize"})', "{{stage}}")
        ),
        panel("Rows materialized", "none", ('max by (job) (beacon_job_rows{job="materialize"})', "rows")),
    )
    return Dashboard(
        "beacon-features",
        "features and freshness",
        "Are features there, and are they of today?",
        (Row("Reads", reads), Row("Values", values), Row("Freshness", fresh)),
    )
