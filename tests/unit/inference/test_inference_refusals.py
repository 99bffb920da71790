"""Bad input: each kind has its own code, names the field, is a 4xx and never a 5xx, whatever it was."""

import gzip
import json
import time

import msgspec
import pytest
from support.service import scope_of

PREDICT, BATCH = "/v1/predict", "/v1/predict/batch"
CHUNKED = [(b"host", b"beacon"), (b"transfer-encoding", b"chunked")]


@pytest.fixture
def service(shared_service):
    return shared_service


def test_a_misspelt_feature_is_named_with_the_one_that_was_meant(service, row):
    answer = service.post(PREDICT, {"features": row | {"RMM": 6}})
    assert answer.error() == (422, "unknown_feature", "features.RMM")
    assert answer.json()["error"] == "unknown feature RMM; did you mean RM?"


def test_an_excluded_column_is_named_with_its_reason(service, product, row):
    wanted = f"B is excluded: {product.excluded['B']}"
    answer = service.post(PREDICT, {"features": row | {"B": 396.9}})
    assert answer.error() == (422, "unknown_feature", "features.B")
    assert answer.json()["error"] == wanted
    answer = service.post(BATCH, {"rows": [{"features": row}, {"features": row | {"B": 1}}]})
    assert answer.error() == (422, "unknown_feature", "rows[1].features.B")
    assert answer.json()["error"] == wanted


VALUES = [
    ("RM", b'"6.5"', "invalid_type"),
    ("RM", b'" 6 "', "invalid_type"),
    ("RM", b'"1_000"', "invalid_type"),
    ("RM", b"true", "invalid_type"),
    ("RM", b"false", "invalid_type"),
    ("RM", b"[6]", "invalid_type"),
    ("RM", b"{}", "invalid_type"),
    ("RM", b"NaN", "not_finite"),
    ("RM", b"Infinity", "not_finite"),
    ("RM", b"-Infinity", "not_finite"),
    ("RM", b"1e999", "not_finite"),
    ("RM", b"-1e999", "not_finite"),
    ("RM", b"0.99", "out_of_valid_range"),
    ("RM", b"20.01", "out_of_valid_range"),
    ("CRIM", b"-0.1", "out_of_valid_range"),
    ("CRIM", b"1e308", "out_of_valid_range"),
    ("CHAS", b"2", "unknown_category"),
    ("CHAS", b"0.5", "unknown_category"),
    ("RAD", b"9", "unknown_category"),
    ("RAD", b"-1e300", "unknown_category"),
]


def text_of(row, **raw):
    """A JSON object of features; `raw` values go in as they are."""
    values = {name: json.dumps(value).encode() for name, value in row.items()} | raw
    return b"{" + b",".join(b'"%s":%s' % (name.encode(), value) for name, value in values.items()) + b"}"


@pytest.mark.parametrize(("name", "value", "code"), VALUES)
def test_a_bad_value_is_named(service, row, name, value, code):
    body = b'{"features":%s}' % text_of(row, **{name: value})
    assert service.post(PREDICT, body).error() == (422, code, f"features.{name}")


@pytest.mark.parametrize(("name", "value", "code"), VALUES)
def test_a_bad_value_in_a_batch_is_named_with_its_row(service, row, name, value, code):
    good, bad = text_of(row), text_of(row, **{name: value})
    body = b'{"rows":[{"features":%s},{"features":%s},{"features":%s}]}' % (good, bad, good)
    assert service.post(BATCH, body).error() == (422, code, f"rows[1].features.{name}")


def test_the_rule_that_was_broken_is_named(service, row):
    range_ = service.post(PREDICT, {"features": row | {"RM": 21}}).json()["error"]
    assert range_ == "RM must be between 1 and 20, is 21 rooms"
    category = service.post(PREDICT, {"features": row | {"RAD": 9}}).json()["error"]
    assert category == "RAD must be one of 1, 2, 3, 4, 5, 6, 7, 8, 24, is 9"


def test_too_few_features_are_not_worth_an_answer(service, row):
    five = dict(list(row.items())[:5])
    for sent in (five, {}, dict.fromkeys(row), None):
        answer = service.post(PREDICT, {"features": sent})
        assert answer.error() == (422, "too_few_features", "features")
    assert "at least 6" in service.post(PREDICT, {"features": five}).json()["error"]
    assert service.post(PREDICT, {"features": dict(list(row.items())[:6])}).status == 200
    batch = {"rows": [{"features": row}, {"features": five}]}
    assert service.post(BATCH, batch).error() == (422, "too_few_features", "rows[1].features")


BODIES = [
    (b"", 400, "invalid_json", None),
    (b" \n", 400, "invalid_json", None),
    (b"{", 400, "invalid_json", None),
    (b'{"features":{"RM":6}', 400, "invalid_json", None),
    (b'{"features":{"RM":06}}', 400, "invalid_json", None),
    (b"features", 400, "invalid_json", None),
    (b'{"features":{}} {}', 400, "invalid_json", None),
    (b"\xef\xbb\xbf{}", 400, "invalid_json", None),
    (b"\xff\xfe", 400, "invalid_json", None),
    (b'{"features":{"\xff":1}}', 400, "invalid_json", None),
    (b'{"prediction_id":"\xff"}', 400, "invalid_json", None),
    (b'{"features":{"\\ud800":1}}', 400, "invalid_json", None),
    (b'{"prediction_id":"\\ud800"}', 400, "invalid_json", None),
    (b'{"\\udfff":1}', 400, "invalid_json", None),
    (b"[" * 100_000, 400, "invalid_json", None),
    (b"[" * 100_000 + b"]" * 100_000, 400, "invalid_json", None),
    (b'{"features":{"RM":' + b"[" * 50_000 + b"]" * 50_000 + b"}}", 400, "invalid_json", None),
    (b'{"features":{"RM":%s}}' % (b"9" * 5000), 400, "invalid_json", None),
    (b'{"entity":{"tract_id":%s}}' % (b"9" * 5000), 400, "invalid_json", None),
    (b"null", 400, "invalid_body", None),
    (b"[]", 400, "invalid_body", None),
    (b"7", 400, "invalid_body", None),
    (b'{"feature":{}}', 400, "invalid_body", "feature"),
    (b'{"rows":[]}', 400, "invalid_body", "rows"),
    (b'{"features":[1,2]}', 422, "invalid_type", "features"),
    (b'{"features":{"\\u0000":1}}', 422, "unknown_feature", "features.\0"),
    (b'{"features":{"constructor":1}}', 422, "unknown_feature", "features.constructor"),
    (b'{"prediction_id":7}', 422, "invalid_type", "prediction_id"),
    (b'{"prediction_id":""}', 422, "invalid_id", "prediction_id"),
    (b'{"prediction_id":"a\\r\\nb"}', 422, "invalid_id", "prediction_id"),
    (b'{"prediction_id":"%s"}' % (b"a" * 65), 422, "invalid_id", "prediction_id"),
    (b'{"entity":{}}', 422, "invalid_entity", "entity"),
    (b'{"entity":{"tract":1}}', 422, "invalid_entity", "entity"),
    (b'{"entity":{"tract_id":1,"x":2}}', 422, "invalid_entity", "entity"),
    (b'{"entity":17}', 422, "invalid_entity", "entity"),
    (b'{"entity":{"tract_id":"17"}}', 422, "invalid_entity", "entity.tract_id"),
    (b'{"entity":{"tract_id":1.5}}', 422, "invalid_entity", "entity.tract_id"),
    (b'{"entity":{"tract_id":true}}', 422, "invalid_entity", "entity.tract_id"),
    (b'{"entity":{"tract_id":null}}', 422, "invalid_entity", "entity.tract_id"),
    (b'{"entity":{"tract_id":9223372036854775808}}', 422, "invalid_entity", "entity.tract_id"),
]


@pytest.mark.parametrize(("body", "status", "code", "field"), BODIES, ids=lambda value: repr(value)[:40])
def test_a_bad_body_is_refused(service, body, status, code, field):
    started = time.thread_time()
    assert service.post(PREDICT, body).error() == (status, code, field)
    assert time.thread_time() - started < 0.5


BATCHES = [
    ({"rows": []}, 400, "invalid_body", "rows"),
    ({"rows": {}}, 400, "invalid_body", "rows"),
    ({}, 400, "invalid_body", "rows"),
    ({"rows": [{}] * 1001}, 422, "batch_too_large", "rows"),
    ({"rows": [{}] * 10_001}, 422, "batch_too_large", "rows"),
    ({"rows": [{}] * 3, "x": 1}, 400, "invalid_body", "x"),
    ({"rows": [{"features": {}}, 7]}, 400, "invalid_body", "rows[1]"),
    ({"rows": [{"features": {}}, {"feature": {}}]}, 400, "invalid_body", "rows[1].feature"),
    ({"rows": [{"prediction_id": "a"}, {"prediction_id": "a"}]}, 422, "invalid_id", "rows[1].prediction_id"),
    ({"rows": [{"prediction_id": "a"}, {"prediction_id": "-"}]}, 422, "invalid_id", "rows[1].prediction_id"),
    ({"rows": [{}, {"entity": {"tract_id": 2**63}}]}, 422, "invalid_entity", "rows[1].entity.tract_id"),
]


@pytest.mark.parametrize(("body", "status", "code", "field"), BATCHES, ids=lambda value: repr(value)[:40])
def test_a_bad_batch_is_refused_and_the_row_named(service, body, status, code, field):
    assert service.post(BATCH, body).error() == (status, code, field)


TYPES = ["text/plain", "application/xml", "multipart/form-data", "application/json; charset=utf-16", "", "nonsense"]


@pytest.mark.parametrize("kind", TYPES)
def test_another_content_type_is_415(service, row, kind):
    answer = service.post(PREDICT, {"features": row}, [("Content-Type", kind)])
    assert answer.error() == (415, "unsupported_media_type", "Content-Type")


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON", 'application/json; charset="UTF-8"'])
def test_json_is_taken_however_it_is_spelt(service, row, kind):
    assert service.post(PREDICT, {"features": row}, [("Content-Type", kind)]).status == 200


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate, gzip"])
def test_a_compressed_body_is_415(service, row, coding):
    body = gzip.compress(json.dumps({"features": row}).encode())
    answer = service.post(PREDICT, body, [("Content-Encoding", coding)])
    assert answer.error() == (415, "unsupported_media_type", "Content-Encoding")


@pytest.mark.parametrize("path", [PREDICT, BATCH, "/invocations", "/v1/actuals", "/no/such/path"])
@pytest.mark.parametrize("chunks", [False, True])
def test_a_body_that_is_too_large_is_413_however_it_comes(service, path, chunks):
    answer = service.run(service.ask("POST", path, b" " * 2_000_001, chunks=chunks))
    status, code, field = answer.error()
    assert (status, code, field) == (413, "body_too_large", None)
    assert answer.headers["connection"] == "close"


def test_the_largest_body_is_taken(service, row):
    body = json.dumps({"features": row}).encode()
    assert service.run(service.ask("POST", PREDICT, body.ljust(2_000_000), chunks=True)).status == 200


def test_a_length_that_is_said_is_enough_to_refuse(service):
    for length in ("2000001", "9" * 300):
        answer = service.post(PREDICT, b"{}", [("Content-Length", length)])
        assert answer.error()[:2] == (413, "body_too_large")


def test_a_client_that_disconnects_in_the_middle_is_no_error(service):
    async def gone():
        waiting = [
            {"type": "http.request", "body": b'{"fea', "more_body": True},
            {"type": "http.disconnect"},
        ]
        sent = []

        async def receive():
            return waiting.pop(0)

        async def send(message):
            sent.append(message)

        scope = scope_of("POST", PREDICT, CHUNKED)
        await service._app(scope, receive, send)
        return sent

    before = {name: value for name, value in service.metrics().items() if name.startswith("api_errors_total")}
    assert service.run(gone()) == []
    after = {name: value for name, value in service.metrics().items() if name.startswith("api_errors_total")}
    assert before == after


def test_a_body_that_does_not_come_in_time_is_408_and_counted(settings):
    import asyncio

    from support.logged_inference import create
    from support.service import Service

    async def trickled(service, path, pieces):
        sent = []

        async def receive():
            if sent:
                return {"type": "http.disconnect"}
            await asyncio.sleep(60 if pieces is None else 0.02)
            return {"type": "http.request", "body": b" " * pieces, "more_body": True}

        async def send(message):
            sent.append(message)

        scope = scope_of("POST", path, CHUNKED)
        await service._app(scope, receive, send)
        return sent

    with Service(create(msgspec.structs.replace(settings, body_timeout_seconds=0.1))) as service:
        for path in (PREDICT, "/invocations", "/v1/actuals"):
            for pieces in (None, 0, 1):
                start, body, _ = service.run(trickled(service, path, pieces))
                assert start["status"] == 408
                assert (b"connection", b"close") in start["headers"], "what is left of the body is not read"
                assert json.loads(body["body"])["code"] == "request_timeout"
        metrics = service.metrics()
    assert metrics["http_requests_total{endpoint=/v1/predict,method=POST,status=408}"] == 3
    assert metrics["api_errors_total{endpoint=/v1/predict,error_type=request_timeout}"] == 3


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", PREDICT, 405, "method_not_allowed"),
        ("DELETE", BATCH, 405, "method_not_allowed"),
        ("POST", "/readyz", 405, "method_not_allowed"),
        ("BREW", PREDICT, 405, "method_not_allowed"),
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/metrics", 404, "not_found"),
        ("POST", "/v1/predict/", 404, "not_found"),
        ("GET", "/../../etc/passwd", 404, "not_found"),
        ("GET", "/\ufffd\x00", 404, "not_found"),
    ],
)
def test_a_wrong_method_or_path_is_refused(service, method, path, status, code):
    answer = service.run(service.ask(method, path, b""))
    assert answer.error() == (status, code, None)
    if status == 405:
        assert answer.headers["allow"]
