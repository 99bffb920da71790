"""Every error code: its HTTP status, what it means and what the client should do, in one place."""

from typing import NamedTuple


class ErrorCode(NamedTuple):
    """One code; it is also a value of the metric label `error_type`."""

    status: int
    meaning: str
    remedy: str
    """What to do, for people."""


MEND = "Correct the value that `field` names; the message has the rule."
AGAIN = "Send it again after the seconds in Retry-After."

CODES: dict[str, ErrorCode] = {
    "invalid_request": ErrorCode(
        400, "the bytes are not an HTTP/1.1 request", "Use an HTTP/1.1 client; look for a proxy that changes requests."
    ),
    "invalid_json": ErrorCode(400, "the body is not JSON", "Send JSON; the message has the place of the first fault."),
    "invalid_body": ErrorCode(
        400,
        "the body is JSON, but not of the expected shape",
        "Compare the body with the route's examples; `field` names the part that is wrong.",
    ),
    "invalid_type": ErrorCode(422, "a value is of the wrong type", MEND),
    "not_finite": ErrorCode(
        422, "a number is NaN or infinite", "Send null where a value is not known, and a finite number otherwise."
    ),
    "out_of_valid_range": ErrorCode(
        422,
        "a value lies outside its valid range",
        "Correct the value, or widen `valid` of the feature in product.yaml if such values are possible.",
    ),
    "unknown_category": ErrorCode(
        422,
        "a value is not one of the levels",
        "Send one of the levels that the message lists; a new level needs product.yaml and a retraining.",
    ),
    "unknown_feature": ErrorCode(
        422, "the product has no such feature", "Correct the name; the message has the nearest one."
    ),
    "missing_feature": ErrorCode(
        422, "a feature that is never imputed has no value", "Send the feature that `field` names."
    ),
    "too_few_features": ErrorCode(
        422,
        "too few features are known for a prediction",
        "Send more features, or an entity whose features are stored.",
    ),
    "invalid_entity": ErrorCode(
        422, "the entity does not have the columns and types of its key", "Send each column of `entity.key` once."
    ),
    "invalid_shape": ErrorCode(
        422, "rows, columns and values do not fit together", "Give each row one value per column."
    ),
    "invalid_id": ErrorCode(
        422, "an id is not 1 to 64 letters, digits or ._:-", "Choose another id, or leave it to the server."
    ),
    "batch_too_large": ErrorCode(
        422, "more rows than one request may have", "Send the rows in several requests; the message has the limit."
    ),
    "idempotency_conflict": ErrorCode(
        422, "the id was used before with other values", "Use a new id for a new request, and the old one for a retry."
    ),
    "unauthorized": ErrorCode(
        401,
        "the API key (or JWT) is missing, unknown or expired",
        "Send a key that is valid today as `X-API-Key`, or a key or JWT as a Bearer token.",
    ),
    "forbidden": ErrorCode(
        403,
        "the API key has not the scope that the route needs",
        "Ask for a key with the scope that the message names.",
    ),
    "unknown_entity": ErrorCode(
        404,
        "no features are known for the entity",
        "Check the key; send `features`, or materialize the entity's features.",
    ),
    "unknown_model": ErrorCode(
        404, "no such model or version is in service", "Ask `/v2/models` what is in service; leave the version out."
    ),
    "unknown_prediction": ErrorCode(
        404,
        "no prediction has this id",
        "Check the id: it is the `prediction_id` of an answer.",
    ),
    "not_found": ErrorCode(404, "there is no such route", "Correct the path; `/docs` lists the routes."),
    "method_not_allowed": ErrorCode(405, "the route takes another method", "Use a method that the header Allow lists."),
    "request_timeout": ErrorCode(
        408, "the body (or the head) did not arrive in time", "Send it faster, or less; look at the network."
    ),
    "request_in_progress": ErrorCode(
        409, "a request with this id is in progress", "Wait for its answer, then send it again with the same id."
    ),
    "model_gone": ErrorCode(
        409,
        "the package of the model that made the prediction is not kept any more",
        "Predict again with the model in service, and explain that.",
    ),
    "verdict_not_passed": ErrorCode(
        409,
        "the model's verdict is not pass, so it cannot be approved (the console's)",
        "Read the verdict; retrain if its reason is gone.",
    ),
    "second_person_needed": ErrorCode(
        409,
        "another person has to approve the model (the console's)",
        "Let somebody else approve it: policy.yaml's `approvals.people` is 2.",
    ),
    "retraining_requested": ErrorCode(
        409,
        "a retraining is requested already, or at work (the console's)",
        "Wait for its verdict: one retraining answers every open request.",
    ),
    "body_too_large": ErrorCode(
        413, "the body is larger than the limit", "Send less per request, or raise `BEACON_MAX_BODY_BYTES`."
    ),
    "uri_too_long": ErrorCode(414, "the request line is too long", "Send the values in the body."),
    "unsupported_media_type": ErrorCode(
        415, "the content type (or encoding) is not supported", "Send what the message asks for."
    ),
    "quota_exceeded": ErrorCode(429, "the client has used up a quota of its API key", AGAIN),
    "too_many_attempts": ErrorCode(429, "too many wrong tokens (the console's)", AGAIN),
    "headers_too_large": ErrorCode(
        431, "too many header fields, or one that is too long", "Send fewer headers; look for a cookie that grew."
    ),
    "overloaded": ErrorCode(503, "too many requests wait", f"{AGAIN}\nIf it lasts, add replicas."),
    "feature_store_unavailable": ErrorCode(
        503, "feature serving does not answer", f"{AGAIN}\nRequests with all `features` need no store."
    ),
    "model_not_ready": ErrorCode(
        503, "no model is in service yet", f"{AGAIN}\nIf it lasts, train a first model and read `/readyz`."
    ),
    "prediction_log_unavailable": ErrorCode(
        503, "the prediction log, or its database, does not answer", f"{AGAIN}\nPredictions go on meanwhile."
    ),
    "registry_unavailable": ErrorCode(
        503,
        "the package of an old model is not here, and MLflow does not answer",
        f"{AGAIN}\nIf it lasts, look at MLflow.",
    ),
    "explainer_unavailable": ErrorCode(
        503, "the process that explains died or took too long", f"{AGAIN}\nAsk for fewer rows at once."
    ),
    "issuer_unavailable": ErrorCode(503, "who logs people in does not answer (the console's)", AGAIN),
    "internal": ErrorCode(500, "a bug", "Report it with the request's id; the log has the error under that id."),
}

STATUS_OF: dict[str, int] = {code: each.status for code, each in CODES.items()}
