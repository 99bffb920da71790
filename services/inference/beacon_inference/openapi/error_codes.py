"""What each error code means, and the groups of codes that several routes share."""

MEANING = {
    "invalid_request": "the bytes are not an HTTP/1.1 request",
    "invalid_json": "the body is not JSON",
    "invalid_body": "the body is JSON, but not of the expected shape",
    "invalid_type": "a value is of the wrong type",
    "not_finite": "a number is NaN or infinite",
    "out_of_valid_range": "a value lies outside its valid range",
    "unknown_category": "a value is not one of the levels",
    "unknown_feature": "the product has no such feature",
    "missing_feature": "a feature that is never imputed has no value",
    "too_few_features": "too few features are known for a prediction",
    "invalid_entity": "the entity does not have the columns and types of its key",
    "invalid_shape": "rows, columns and values do not fit together",
    "invalid_id": "an id is not 1 to 64 letters, digits or ._:-",
    "batch_too_large": "more rows than one request may have",
    "idempotency_conflict": "the id was used before with other values",
    "unauthorized": "the API key is missing, unknown or expired",
    "forbidden": "the API key has not the scope that the route needs",
    "unknown_entity": "no features are known for the entity",
    "unknown_model": "no such model or version is in service",
    "unknown_prediction": "no prediction has this id",
    "not_found": "there is no such route",
    "method_not_allowed": "the route takes another method",
    "request_timeout": "the body (or the head) did not arrive in time",
    "request_in_progress": "a request with this id is in progress",
    "model_gone": "the package of the model that made the prediction is not kept any more",
    "verdict_not_passed": "the model's verdict is not pass, so it cannot be approved (the console's)",
    "second_person_needed": "another person has to approve the model (the console's)",
    "body_too_large": "the body is larger than the limit",
    "uri_too_long": "the request line is too long",
    "unsupported_media_type": "the content type (or encoding) is not supported",
    "quota_exceeded": "the client has used up a quota of its API key",
    "headers_too_large": "too many header fields, or one that is too long",
    "overloaded": "too many requests wait",
    "feature_store_unavailable": "feature serving does not answer",
    "model_not_ready": "no model is in service yet",
    "prediction_log_unavailable": "the prediction log's database does not answer",
    "registry_unavailable": "the package of an old model is not here, and MLflow does not answer",
    "explainer_unavailable": "the process that explains died or took too long",
    "issuer_unavailable": "who logs people in does not answer (the console's)",
    "too_many_attempts": "too many wrong tokens; Retry-After says when to try again (the console's)",
    "internal": "a bug",
}

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
