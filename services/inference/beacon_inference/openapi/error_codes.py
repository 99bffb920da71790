"""The groups of error codes that several routes share."""

# The codes of any body, and of any rows.
BODY = ("invalid_json", "invalid_body", "request_timeout", "body_too_large", "unsupported_media_type")
ROWS = (
    "invalid_type",
    "not_finite",
    "out_of_valid_range",
    "unknown_category",
    "unknown_feature",
    "missing_feature",
    "too_few_features",
    "invalid_entity",
    "invalid_id",
    "idempotency_conflict",
    "request_in_progress",
    "unknown_entity",
    "feature_store_unavailable",
    "model_not_ready",
    "overloaded",
    "unauthorized",
    "forbidden",
    "quota_exceeded",
)
EXPLAINER = ("model_gone", "registry_unavailable", "explainer_unavailable")
EXPLAINED = ("batch_too_large", "unknown_prediction", "prediction_log_unavailable", *EXPLAINER)
TABLE = ("invalid_shape", "batch_too_large")
LOG = ("overloaded", "prediction_log_unavailable", "unauthorized", "forbidden", "quota_exceeded")
MODEL = ("unknown_model", "model_not_ready", "overloaded")
