"""What serves: the service and its objectives, the way of a request, features."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from beacon_core.domain.error_codes import STATUS_OF
from beacon_core.observability.metrics import STAGES
from tools.dashboards.panels import BAD, GOOD, SO_SO, Panel, dashboard, heatmap, stat, table, time_series
from tools.dashboards.queries import (
    FAILURES,
    PER_SECOND,
    PREDICT,
    RATE,
    SECONDS,
    SHARE,
    buckets,
    by,
    limit,
    most,
    of_predictions,
    quantiles,
    rate,
    rates,
    since,
)

ASKED = f"http_requests_total{{{PREDICT}}}"
DURATION = "http_request_duration_seconds"
TOPIC_ROW = "Kafka's topic into the lake"
"""The one row without data where its process does not run: most products have no topic."""


def service() -> Dashboard:
    """Whether users are served, and what of the error budget is left."""
    failed = f'http_requests_total{{{PREDICT}, status=~"5.."}}'
    budget = f"1 - scalar({limit('availability_slo')})"
    lost = f"sum(increase({failed}[30d])) / sum(increase({ASKED}[30d]))"
    firing = 'count(ALERTS{alertstate="firing", alertname!="Watchdog"}) or vector(0)'
    now = (
        stat("Availability, 30 days", SHARE, f"1 - {lost}", (None, BAD), (0.99, SO_SO), (0.995, GOOD)),
        stat("Error budget left, 30 days", SHARE, f"1 - ({lost}) / ({budget})", (None, BAD), (0.2, SO_SO), (0.5, GOOD)),
        stat("Prediction requests", PER_SECOND, f"sum(rate({ASKED}{RATE}))"),
        stat("99 % answered within", SECONDS, quantiles(DURATION, 0.99, labels=PREDICT)[0][0]),
        stat("Probes that succeed", SHARE, "avg(probe_success)", (None, BAD), (1, GOOD)),
        stat("Alerts that fire", "none", firing, (None, GOOD), (1, BAD)),
    )
    errors = f"sum by (error_type) (rate(api_errors_total{RATE})) > 0 or sum(rate(api_errors_total{RATE}))"
    requests = (
        time_series("Requests by status", PER_SECOND, rates("status", ASKED)),
        time_series("Failures", SHARE, FAILURES, (budget, "budget")),
        time_series(
            "Errors by code",
            PER_SECOND,
            (errors, "{{error_type}}"),
            note="Codes of 4xx are the clients'; the line without a name is the sum.",
        ),
    )
    slow = f"sum(rate(http_slow_requests_total{{{PREDICT}}}{RATE}))"
    within = f"1 - {slow} / sum(rate({DURATION}_count{{{PREDICT}}}{RATE}))"
    latency = (
        time_series(
            "Time to answer",
            SECONDS,
            *quantiles(DURATION, 0.5, 0.9, 0.99, labels=PREDICT),
            (limit("latency_slo_seconds"), "promise"),
            exemplars=True,
            note="A dot is a trace: click it.",
        ),
        heatmap("Distribution of the time to answer", SECONDS, buckets(DURATION, PREDICT)),
        time_series("Answered within the promise", SHARE, (within, "share")),
    )
    burns = [
        (f"beacon:failures:ratio{window} / ({budget})", f"failures, {window}") for window in ("5m", "1h", "6h", "3d")
    ]
    budget_note = "1 uses up the budget in just its 30 days; 14.4 in two."
    durations = by("instance", "probe_duration_seconds")
    objectives = (
        time_series("Burn of the error budget", "none", *burns, note=budget_note),
        time_series("Slow answers", SHARE, ("beacon:slow:ratio5m", "5m"), ("beacon:slow:ratio1h", "1h")),
        time_series("Probes", SECONDS, durations, note="Time of a synthetic prediction, by way."),
        time_series("Probes held against a golden answer", SHARE, by("instance", "beacon_probe_compared", of="avg")),
    )
    peak = by("job", "beacon_peak_memory_bytes", "{{job}}, ever")
    answer = by("job", "up", of="sum"), ("min(beacon_store_up)", "the console's store")
    builds, _ = by("service, version, revision", "beacon_build_info", of="sum")
    processes = (
        time_series("Memory", "bytes", by("job", "process_resident_memory_bytes"), peak),
        time_series("CPU", "none", rates("job", "process_cpu_seconds_total"), note="Cores."),
        time_series("Targets that answer Prometheus", "none", *answer),
        table("Builds, and how many processes run them", builds),
    )
    rows = {
        "Now": now,
        "Requests": requests,
        "Latency": latency,
        "Objectives": objectives,
        "Processes": processes,
    }
    question = "Are users served, and how much of the error budget is left?"
    return dashboard("beacon-service", "service health and objectives", question, rows)


def requests() -> Dashboard:
    """The way of a request, a row for each stage."""
    total, count = (rates("stage", f"beacon_stage_seconds_{part}")[0] for part in ("sum", "count"))
    rows: dict[str, tuple[Panel, ...]] = {
        "All stages": (
            time_series("Mean time of each stage", SECONDS, (f"{total} / {count}", "{{stage}}")),
            time_series("Slowest 1 % of each stage", SECONDS, *quantiles("beacon_stage_seconds", 0.99, by="stage")),
        )
    }
    own = _of_stages()
    for stage in STAGES:
        title = f"Time to {stage}" if stage != "lookup" else "Time to look up"
        times = quantiles("beacon_stage_seconds", 0.5, 0.9, 0.99, labels=f'stage="{stage}"')
        rows[stage] = (time_series(title, SECONDS, *times), *own[stage])
    rows["Clients"] = _of_clients()
    rows[TOPIC_ROW] = _of_the_topic()
    question = "Where is the time spent, and where do requests fail?"
    return dashboard("beacon-requests", "the way of a request", question, rows)


def _of_stages() -> dict[str, tuple[Panel, ...]]:
    """What each stage shows beside its time."""
    refusals = "|".join(code for code, status in STATUS_OF.items() if status in {400, 422})
    refused = rates("error_type", f'api_errors_total{{{PREDICT}, error_type=~"{refusals}"}}')
    store, log = "feature_store_unavailable", "beacon_prediction_log"
    predicted = rates("model_version", "model_predictions_total", "version {{model_version}}")
    answered = rates("endpoint", f'http_requests_total{{{PREDICT}, status="200"}}')
    return {
        "validate": (time_series("Refused for what was sent", PER_SECOND, refused),),
        "lookup": (
            time_series("Values looked up", "ops", rates("status", "beacon_feature_lookups_total")),
            time_series(
                "Requests that failed for the features",
                PER_SECOND,
                rate(f'api_errors_total{{error_type="{store}"}}', store),
            ),
        ),
        "impute": (time_series("Values imputed", "ops", most(rates("feature", "model_imputations_total"))),),
        "predict": (
            time_series("Time in the model", SECONDS, *quantiles("model_inference_latency_seconds", 0.5, 0.99)),
            time_series("Rows predicted", "ops", predicted),
            time_series(
                "Rows explained",
                "ops",
                rates("method", "beacon_explanations_total"),
                rate("beacon_explainer_starts_total", "starts of the process that explains"),
            ),
            time_series("Time of an explanation", SECONDS, *quantiles("beacon_explanation_seconds", 0.5, 0.99)),
        ),
        "respond": (time_series("Answers", PER_SECOND, answered),),
        "log": (
            time_series(
                "Records that wait in the spool",
                "none",
                (f"sum({log}_spool_records)", "records"),
                (f"sum by (store) ({log}_store_waiting)", "for {{store}}"),
            ),
            time_series(
                "Fullest spool, and room on volumes",
                "percentunit",
                (f"max({log}_spool_bytes / {log}_spool_max_bytes)", "spool, used"),
                ("min by (volume) (beacon_volume_free_bytes / beacon_volume_size_bytes)", "{{volume}}, free"),
            ),
            time_series(
                "The log's stores",
                "bytes",
                ("max(beacon_database_bytes)", "database"),
                ("max(beacon_lake_bytes) or vector(0)", "lake, newest snapshot"),
            ),
            time_series("Predictions in the lake", "none", ("max(beacon_lake_rows) or vector(0)", "rows")),
            time_series(
                "Records shipped",
                "ops",
                rate(f"{log}_shipped_total", "shipped"),
                rate(f"{log}_ship_failures_total", "failed tries"),
                rate(f"{log}_dropped_total", "dropped"),
                rate(f"{log}_left_out_total", "left out by logging.share"),
                rate(f"{log}_quarantined_total", "not to be parsed"),
                rates("store", f"{log}_store_rows_total"),
                rates("store", f"{log}_store_failures_total"),
            ),
        ),
    }


def _of_the_topic() -> tuple[Panel, ...]:
    """The consumer between the log's topic and the lake, where `logging.stores` has kafka."""
    return (
        time_series(
            "Messages of the topic",
            "ops",
            rate("beacon_topic_rows_total", "committed"),
            rate("beacon_topic_repeated_total", "were there already"),
            rate("beacon_topic_skipped_total", "left out"),
        ),
        time_series(
            "How far the lake is behind the topic",
            SECONDS,
            (since("max(beacon_topic_current_timestamp_seconds)"), "since it had all"),
            (since("max(beacon_topic_committed_timestamp_seconds)"), "since the last commit"),
        ),
        time_series("Messages left for the next block", "none", ("max(beacon_topic_lag)", "messages")),
    )


def _of_clients() -> tuple[Panel, ...]:
    """Who asks, where an API key is set, and the state of the keys."""
    left, client = by("client", "beacon_api_key_expires_timestamp_seconds")
    failed = "sum(increase(beacon_api_keys_file_failures_total[1h]))"
    # A service without an issuer of JWTs has neither.
    issuers = "sum(beacon_jwt_issuer_keys) or vector(0)"
    failed_issuer = "sum(increase(beacon_jwt_issuer_keys_failures_total[1h])) or vector(0)"
    return (
        time_series(
            "Requests of each client", PER_SECOND, most(rates("client, status", "beacon_client_requests_total"))
        ),
        time_series(
            "Rejected over a quota", PER_SECOND, most(rates("client, quota", "beacon_client_quota_rejections_total"))
        ),
        time_series("API keys", "none", by("job", "beacon_api_keys"), (failed, "failed reads of the file, an hour")),
        time_series("Keys of the JWTs' issuer", "none", (issuers, "keys"), (failed_issuer, "failed fetches, an hour")),
        time_series("Time until a client's last key expires", SECONDS, (f"{left} - time()", client)),
    )


def features() -> Dashboard:
    """Feature serving: reads, ages, freshness."""
    endpoint = 'endpoint="/get-online-features"'
    reads = (
        time_series("Requests", PER_SECOND, rates("status", f"http_requests_total{{{endpoint}}}")),
        time_series("Time to answer", SECONDS, *quantiles(DURATION, 0.5, 0.99, labels=endpoint), exemplars=True),
        time_series("Reads of the online store", SECONDS, *quantiles("beacon_feature_store_seconds", 0.5, 0.99)),
    )
    lookups, legend = rates("status", "beacon_feature_lookups_total")
    shares = f"{lookups} / on () group_left () (sum(rate(beacon_feature_lookups_total{RATE})) > 0)"
    values = (
        time_series("Values by status", SHARE, (shares, legend)),
        time_series("Age of the values served", SECONDS, *quantiles("beacon_feature_age_seconds", 0.5, 0.99)),
        time_series("Imputed, by feature", SHARE, most(of_predictions("model_imputations_total", "feature"))),
    )
    age = since("min by (view) (beacon_feature_materialized_timestamp_seconds)")
    too_old = f"3600 * {limit('feature_age_hours')}"
    failed = "sum(increase(beacon_feature_registry_failures_total[1h]))"
    job = 'job="materialize"'
    freshness = (
        time_series("Since the last materialization", SECONDS, (age, "{{view}}"), (too_old, "limit")),
        time_series("Failed reads of the registry", "none", (failed, "an hour")),
        time_series("Materialization", SECONDS, by("stage", f"beacon_job_stage_seconds{{{job}}}")),
        time_series("Rows materialized", "none", by("job", f"beacon_job_rows{{{job}}}", "rows")),
    )
    rows = {"Reads": reads, "Values": values, "Freshness": freshness}
    return dashboard("beacon-features", "features and freshness", "Are features online, and are they fresh?", rows)
