"""Every metric Beacon exports: its name, type, labels, buckets and meaning, in one place.

Rules, dashboards and docs are tested against this table. Labels take their values from closed sets only.
"""

from typing import Literal, TypeVar

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

# Seconds; the finer ones show typical latencies.
LATENCY_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.25, 0.5, 1.0, 2.5, 5.0)
STAGE_BUCKETS = (0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.2, 1.0)
AGE_BUCKETS = (60.0, 600.0, 3600.0, 21600.0, 86400.0, 604800.0, 2592000.0, 31536000.0)
STAGES = ("validate", "lookup", "impute", "predict", "respond", "log")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metric(msgspec.Struct, frozen=True):
    """One metric as it is exported."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


HTTP_REQUESTS = Metric(
    "http_requests_total", "counter", "Requests answered, by route template.", ("endpoint", "method", "status")
)
HTTP_DURATION = Metric(
    "http_request_duration_seconds", "histogram", "Time to answer a request.", ("endpoint",), LATENCY_BUCKETS
)
HTTP_SLOW = Metric(
    "http_slow_requests_total",
    "counter",
    "Requests that took longer to answer than serving.latency_slo_seconds of policy.yaml promises.",
    ("endpoint",),
)
API_ERRORS = Metric("api_errors_total", "counter", "Errors answered, by code.", ("endpoint", "error_type"))
CLIENT_REQUESTS = Metric(
    "beacon_client_requests_total",
    "counter",
    "Requests of routes that API keys are for, by the name of the key; anonymous: no key that is known.",
    ("client", "status"),
)
CLIENT_PREDICTIONS = Metric(
    "model_client_predictions_total",
    "counter",
    "Predictions, by the API key's name; anonymous: none.",
    ("client",),
)
CLIENT_OUT_OF_RANGE = Metric(
    "model_client_out_of_range_predictions_total",
    "counter",
    "Predictions from a feature outside its training range, by the name of the API key; anonymous: none.",
    ("client",),
)
CLIENT_QUOTA_REJECTIONS = Metric(
    "beacon_client_quota_rejections_total",
    "counter",
    "Requests that were rejected because their client had used up a quota of its API key.",
    ("client", "quota"),
)
API_KEYS = Metric(
    "beacon_api_keys", "gauge", "API keys that are accepted; 0: no key is set, and no route of inference needs one."
)
API_KEYS_FAILURES = Metric(
    "beacon_api_keys_file_failures_total", "counter", "Failed reads of the file of API keys; the last good keys count."
)
API_KEY_EXPIRES = Metric(
    "beacon_api_key_expires_timestamp_seconds", "gauge", "When the last API key of a name expires.", ("client",)
)
ISSUER_KEYS = Metric(
    "beacon_jwt_issuer_keys", "gauge", "Public keys of the JWTs' issuer; 0: none could be fetched, and no JWT counts."
)
ISSUER_KEYS_FAILURES = Metric(
    "beacon_jwt_issuer_keys_failures_total", "counter", "Failed fetches of the issuer's keys; the last ones count."
)
BUILD_INFO = Metric("beacon_build_info", "gauge", "1; the build is in the labels.", ("service", "version", "revision"))
THRESHOLD = Metric("beacon_threshold", "gauge", "Thresholds of product.yaml and policy.yaml.", ("name",))
STAGE_SECONDS = Metric(
    "beacon_stage_seconds", "histogram", "Time of one stage of a prediction.", ("stage",), STAGE_BUCKETS
)

MODEL_LATENCY = Metric(
    "model_inference_latency_seconds",
    "histogram",
    "Time of one run of the model, which concurrent requests share.",
    (),
    STAGE_BUCKETS,
)
PREDICTIONS = Metric("model_predictions_total", "counter", "Rows predicted.", ("model_version",))
IMPUTATIONS = Metric("model_imputations_total", "counter", "Values imputed.", ("feature",))
EXTREME_PREDICTIONS = Metric(
    "model_extreme_predictions_total", "counter", "Predictions below target.low or above target.high.", ("side",)
)
OUT_OF_RANGE_PREDICTIONS = Metric(
    "model_out_of_range_predictions_total",
    "counter",
    "Predictions outside the range of the training target.",
    ("model_version",),
)
OUT_OF_RANGE_FEATURES = Metric(
    "model_out_of_range_features_total", "counter", "Values outside the training range.", ("feature",)
)
KEY_FEATURE_OUT_OF_RANGE = Metric(
    "model_key_feature_out_of_range_total",
    "counter",
    "Rows whose most important feature is outside its normal range (training quantiles 1 % to 99 %).",
)
PREDICTION_VALUE = Metric("model_prediction_value", "histogram", "Predicted values, in the target's unit.")
EXPLANATIONS = Metric("beacon_explanations_total", "counter", "Rows explained, by method.", ("method",))
EXPLANATION_SECONDS = Metric(
    "beacon_explanation_seconds", "histogram", "Time of the explanation of one request's rows.", (), LATENCY_BUCKETS
)
EXPLAINER_STARTS = Metric("beacon_explainer_starts_total", "counter", "Starts of the process that explains.")
MODEL_INFO = Metric(
    "beacon_model_info", "gauge", "1 for a model in service.", ("name", "model_version", "sha256", "role")
)
MODEL_EXPECTED_ERROR = Metric(
    "beacon_model_expected_error", "gauge", "Mean absolute error that the serving model's training expects."
)
MODEL_SWAPS = Metric("beacon_model_swaps_total", "counter", "Attempts to take a new model into service.", ("outcome",))
MODEL_TRAINED = Metric("beacon_model_trained_timestamp_seconds", "gauge", "When the serving model was trained.")

PEAK_MEMORY = Metric("beacon_peak_memory_bytes", "gauge", "Peak resident memory of the process.")

VOLUME_SIZE = Metric("beacon_volume_size_bytes", "gauge", "Size of a volume that the service writes to.", ("volume",))
VOLUME_FREE = Metric("beacon_volume_free_bytes", "gauge", "Bytes of the volume that are free.", ("volume",))
DATABASE_BYTES = Metric("beacon_database_bytes", "gauge", "Room that the database takes on disk.")

LAKE_BYTES = Metric("beacon_lake_bytes", "gauge", "Bytes of the predictions in the lake's newest snapshot.")
LAKE_ROWS = Metric("beacon_lake_rows", "gauge", "Predictions in the lake.")

SPOOL_RECORDS = Metric("beacon_prediction_log_spool_records", "gauge", "Records in the spool, not yet in each store.")
SPOOL_BYTES = Metric("beacon_prediction_log_spool_bytes", "gauge", "Bytes of the spool.")
SPOOL_MAX_BYTES = Metric("beacon_prediction_log_spool_max_bytes", "gauge", "Bytes that the spool may have.")
LOG_DROPPED = Metric("beacon_prediction_log_dropped_total", "counter", "Records lost, spool full or unwritable.")
LOG_LEFT_OUT = Metric(
    "beacon_prediction_log_left_out_total", "counter", "Predictions that logging.share of policy.yaml leaves out."
)
LOG_SHIPPED = Metric("beacon_prediction_log_shipped_total", "counter", "Records committed to the store that is read.")
LOG_QUARANTINED = Metric("beacon_prediction_log_quarantined_total", "counter", "Spool lines that do not parse.")
LOG_SHIP_FAILURES = Metric("beacon_prediction_log_ship_failures_total", "counter", "Failed attempts to ship a batch.")
STORE_ROWS = Metric("beacon_prediction_log_store_rows_total", "counter", "Records committed, by store.", ("store",))
STORE_FAILURES = Metric(
    "beacon_prediction_log_store_failures_total", "counter", "Failed attempts to ship, by store.", ("store",)
)
STORE_WAITING = Metric(
    "beacon_prediction_log_store_waiting",
    "gauge",
    "Records in the spool that a store has not yet, by store.",
    ("store",),
)

TOPIC_ROWS = Metric("beacon_topic_rows_total", "counter", "Predictions of the log's topic committed to the lake.")
TOPIC_REPEATED = Metric(
    "beacon_topic_repeated_total", "counter", "Messages of the topic whose prediction was in the lake already."
)
TOPIC_SKIPPED = Metric(
    "beacon_topic_skipped_total", "counter", "Messages left out, as they are no predictions of the product."
)
TOPIC_LAG = Metric("beacon_topic_lag", "gauge", "Messages of the topic that the newest block left for the next one.")
TOPIC_COMMITTED = Metric(
    "beacon_topic_committed_timestamp_seconds", "gauge", "When a block of the topic was last committed to the lake."
)
TOPIC_CURRENT = Metric(
    "beacon_topic_current_timestamp_seconds",
    "gauge",
    "When the lake last had every message of the topic; 0: not yet, since the consumer started.",
)

FEATURE_LOOKUPS = Metric("beacon_feature_lookups_total", "counter", "Feature values looked up.", ("status",))
FEATURE_AGE = Metric("beacon_feature_age_seconds", "histogram", "Age of the values served.", (), AGE_BUCKETS)
FEATURES_MATERIALIZED = Metric(
    "beacon_feature_materialized_timestamp_seconds", "gauge", "End of the last materialization.", ("view",)
)
STORE_SECONDS = Metric(
    "beacon_feature_store_seconds", "histogram", "Time of one read of the online store.", (), STAGE_BUCKETS
)
REGISTRY_FAILURES = Metric(
    "beacon_feature_registry_failures_total", "counter", "Failed reads of the Feast registry; the last good one serves."
)

PLACE = ("kind", "feature", "effect", "window")
DRIFT_SCORE = Metric("beacon_drift_score", "gauge", "Size of a shift, in the newest drift run.", PLACE)
DRIFT_THRESHOLD = Metric("beacon_drift_threshold", "gauge", "Score above which a shift is an alarm.", PLACE)
DRIFT_CONFIRMED = Metric("beacon_drift_confirmed", "gauge", "1 where drift is confirmed over several runs.", PLACE)
DRIFT_ROWS = Metric("beacon_drift_rows", "gauge", "Predictions that the newest drift run compared.", ("window",))
FIGURE = ("metric", "window", "segment")
MODEL_ERROR = Metric("beacon_model_error", "gauge", "Realised figures of the model, where actuals are known.", FIGURE)
MODEL_ERROR_ROWS = Metric("beacon_model_error_rows", "gauge", "Rows behind a realised figure.", FIGURE)
JOB_LAST_SUCCESS = Metric(
    "beacon_job_last_success_timestamp_seconds", "gauge", "When a stage of a job last succeeded.", ("job",)
)
JOB_DURATION = Metric("beacon_job_duration_seconds", "gauge", "How long a job's newest run took.", ("job",))
JOB_PERIOD = Metric("beacon_job_period_seconds", "gauge", "How often a job should succeed.", ("job",))
JOB_ROWS = Metric("beacon_job_rows", "gauge", "Rows that a job's newest run worked on.", ("job",))
JOB_RUNS = Metric("beacon_job_runs_total", "counter", "Ended runs of a job, including its stages.", ("job",))
JOB_FAILURES = Metric("beacon_job_failures_total", "counter", "Failed runs of a job.", ("job",))
JOB_STAGE = Metric("beacon_job_stage_seconds", "gauge", "How long a job's stage last took.", ("job", "stage"))
RETRAIN_REQUESTS = Metric("beacon_retrain_requests", "gauge", "Requests to retrain, by state.", ("state",))
GATE_VERDICT = Metric("beacon_gate_verdict", "gauge", "1 where the newest verdict's check passed.", ("check",))
GATE_OUTCOME = Metric("beacon_gate_outcome", "gauge", "1 for the newest verdict's outcome.", ("outcome",))
PROMOTIONS = Metric("beacon_promotion_total", "counter", "Runs of the promotion, by outcome.", ("outcome",))
PROMOTION_LAST = Metric(
    "beacon_promotion_last_timestamp_seconds", "gauge", "When the newest run with this outcome ended.", ("outcome",)
)
ACTUAL_LAST = Metric("beacon_actual_last_timestamp_seconds", "gauge", "When the newest actual arrived.")
STORE_UP = Metric("beacon_store_up", "gauge", "1 while the store answers the console.")

PROBE_SUCCESS = Metric("probe_success", "gauge", "1 where the prober's request was answered correctly.")
PROBE_SECONDS = Metric("probe_duration_seconds", "gauge", "Time until the prober's request was answered.")
PROBE_COMPARED = Metric(
    "beacon_probe_compared", "gauge", "1 where the prober compared the answer with a golden one; 0: it has none yet."
)

MetricT = TypeVar("MetricT", bound=MetricWrapperBase)
ALL: tuple[Metric, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))


def counter(metric: Metric, registry: CollectorRegistry) -> Counter:
    """Register and return the counter; raises TypeError for a metric of another kind."""
    return _create(Counter, metric, registry)


def gauge(metric: Metric, registry: CollectorRegistry) -> Gauge:
    """Register and return the gauge; raises TypeError for a metric of another kind."""
    return _create(Gauge, metric, registry)


def histogram(metric: Metric, registry: CollectorRegistry, buckets: tuple[float, ...] = ()) -> Histogram:
    """Register and return the histogram; `buckets` are given where they are known only at run time."""
    bounds = buckets or metric.buckets
    return Histogram(metric.name, metric.help, metric.labels, registry=registry, buckets=bounds)


def _create(kind: type[MetricT], metric: Metric, registry: CollectorRegistry) -> MetricT:
    if kind.__name__.lower() != metric.kind:
        raise TypeError(f"{metric.name} is a {metric.kind}")
    return kind(metric.name, metric.help, metric.labels, registry=registry)
