"""Quotas of clients at inference's routes, and that a bad key makes it read no large body."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.api_keys import entry, write_keys
from support.logged_inference import create
from support.packages import release_package, row_of
from support.products import MIXED
from support.service import METRICS_PORT, PORT, Answer, Service, scope_of
from support.settings import Settings

from beacon_core.domain.api_keys import new_key
from beacon_core.domain.quotas import DAY_SECONDS
from beacon_core.platform import clock
from beacon_core.platform.product_file import load_product
from beacon_core.web.asgi import Application

PRODUCT = load_product(MIXED)
ROW = {name: value for name, value in zip(PRODUCT.feature_names, row_of(PRODUCT), strict=True) if value is not None}
NAMES = list(ROW)
TENSORS = [
    {
        "name": name,
        "shape": [1],
        "datatype": "BYTES" if isinstance(value, str) else "BOOL" if isinstance(value, bool) else "FP64",
        "data": [value],
    }
    for name, value in ROW.items()
]
V1 = f"/v1/models/{PRODUCT.name}"
ONE_ROW = {
    "/v1/predict": {"features": ROW},
    "/v1/predict/batch": {"rows": [{"features": ROW}]},
    "/v1/explain": {"features": ROW},
    f"/v2/models/{PRODUCT.name}/infer": {"inputs": TENSORS},
    f"{V1}:predict": {"instances": [ROW]},
    f"{V1}:explain": {"instances": [ROW]},
    "/invocations": {"dataframe_records": [ROW]},
}
KEY, FREE = new_key(), new_key()
NOON = 20_000.5 * DAY_SECONDS
SCOPES = ("predict", "explain", "actuals", "read_log")
LARGE = 30_000_000


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a model of that product, whose clock stands still at noon."""
    release_package(tmp_path, PRODUCT, explained=True)
    monkeypatch.setattr(clock, "timestamp", lambda: NOON)
    return tmp_path


def app_of(home: Path, **quotas: Any) -> Application:
    write_keys(home / "keys.json", entry("shop", KEY, *SCOPES) | quotas, entry("free", FREE, *SCOPES))
    ports = {"inference_port": PORT, "inference_metrics_port": METRICS_PORT}
    closed = {"api_keys_file": home / "keys.json", "closed_scopes": ("predict", "explain")}
    return create(Settings(home=home, product=MIXED, **closed, **ports))


@pytest.fixture
def twice(home: Path) -> Iterator[Service]:
    """Inference, of which a client may ask two things a day."""
    with Service(app_of(home, requests_per_day=2)) as running:
        yield running


def post(service: Service, path: str, body: Any, key: str = KEY) -> Answer:
    return service.post(path, body, [("X-API-Key", key)])


@pytest.mark.parametrize("path", list(ONE_ROW))
def test_each_protocol_tells_a_client_over_its_quota_when_to_come_again(twice: Service, path: str) -> None:
    for _ in range(2):
        assert post(twice, path, ONE_ROW[path]).status == 200
    for body in (ONE_ROW[path], b"not even JSON"):
        answer = post(twice, path, body)
        assert answer.error() == (429, "quota_exceeded", "X-API-Key")
        rule = "the API key of shop may send 2 requests per day; try again in 43200 s"
        assert answer.json()["error"] == rule
        assert answer.headers["retry-after"] == "43200"
        assert answer.headers["x-request-id"] == answer.json()["request_id"]
    if path == "/invocations":
        assert answer.json()["error_code"] == "BAD_REQUEST"
    assert post(twice, path, ONE_ROW[path], FREE).status == 200
    found = twice.metrics()
    assert found["beacon_client_quota_rejections_total{client=shop,quota=requests_per_day}"] == 2
    assert found["beacon_client_requests_total{client=shop,status=429}"] == 2
    endpoint = path.replace(PRODUCT.name, "{name}")
    assert found[f"api_errors_total{{endpoint={endpoint},error_type=quota_exceeded}}"] == 2


def test_the_log_and_the_actuals_count_as_requests(twice: Service) -> None:
    known = post(twice, "/v1/predict", ONE_ROW["/v1/predict"]).json()["prediction_id"]
    assert twice.get(f"/v1/predictions/{known}", [("X-API-Key", KEY)]).status == 200
    answer = twice.get(f"/v1/predictions/{known}", [("X-API-Key", KEY)])
    assert (answer.error(), answer.headers["retry-after"]) == ((429, "quota_exceeded", "X-API-Key"), "43200")
    assert post(twice, "/v1/actuals", {"prediction_id": known, "value": 1.0}).status == 429
    assert twice.get("/v1/predictions/x").status == 401
    found = twice.metrics()
    errors = "api_errors_total{endpoint=/v1/predictions/<prediction_id>,error_type="
    assert [found[f"{errors}{code}}}"] for code in ("quota_exceeded", "unauthorized")] == [1, 1]


def test_open_routes_take_no_quota(twice: Service) -> None:
    for _ in range(5):
        assert twice.get("/v2/health/ready", [("X-API-Key", KEY)]).status == 200
        assert twice.get("/openapi.json", [("X-API-Key", KEY)]).status == 200
    assert post(twice, "/v1/predict", ONE_ROW["/v1/predict"]).status == 200


@pytest.mark.parametrize("path", list(ONE_ROW))
def test_rows_count_in_each_protocol_before_anything_is_predicted(home: Path, path: str) -> None:
    with Service(app_of(home, rows_per_day=3)) as service:
        assert post(service, path, b"not JSON").error()[0] == 400, "which has no rows"
        assert [post(service, path, ONE_ROW[path]).status for _ in range(4)] == [200, 200, 200, 429]
        found = service.metrics()
        assert found["beacon_client_quota_rejections_total{client=shop,quota=rows_per_day}"] == 1
        predicted = sum(value for name, value in found.items() if name.startswith("model_predictions_total"))
        assert predicted == (0 if "explain" in path else 3)


def test_a_batch_counts_with_all_its_rows(home: Path) -> None:
    with Service(app_of(home, rows_per_day=5)) as service:
        for rows, status in ((3, 200), (3, 429), (2, 200), (1, 429)):
            assert post(service, "/v1/predict/batch", {"rows": [{"features": ROW}] * rows}).status == status
        answer = post(service, "/v1/predict/batch", {"rows": [{"features": ROW}] * 6})
        assert answer.error() == (422, "batch_too_large", "X-API-Key")
        assert answer.json()["error"] == "the API key of shop may send 5 rows per day, and this request has 6"
        assert "retry-after" not in answer.headers
        known = post(service, "/v1/predict", ONE_ROW["/v1/predict"], FREE).json()["prediction_id"]
        assert post(service, "/v1/explain", {"prediction_id": known}).status == 429
        assert post(service, "/v1/explain", {"prediction_id": known}, FREE).status == 200


def test_a_rejection_spends_no_error_budget(twice: Service) -> None:
    statuses = [post(twice, "/v1/predict", ONE_ROW["/v1/predict"]).status for _ in range(10)]
    assert statuses == [200] * 2 + [429] * 8
    failed = {name: count for name, count in twice.metrics().items() if "status=5" in name or "=internal" in name}
    assert set(failed.values()) == {0}


def told(app: Application, service: Service, path: str, headers: list[tuple[bytes, bytes]], size: int) -> list[Any]:
    """What the server saw: status and headers of the answer, and each part of the body that was asked for."""
    seen: list[Any] = []

    async def receive() -> dict[str, Any]:
        seen.append("part")
        return {"type": "http.request", "body": b"x" * size, "more_body": len(seen) < 4}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            seen.append((message["status"], dict(message["headers"]).get(b"connection")))

    service.run(app(scope_of("POST", path, [(b"host", b"beacon"), *headers]), receive, send))
    return seen


@pytest.mark.parametrize("path", [*ONE_ROW, "/v1/actuals"])
@pytest.mark.parametrize("key", ["", "wrong", KEY], ids=["none", "wrong", "used up"])
def test_a_large_body_is_not_read_before_the_key(home: Path, path: str, key: str) -> None:
    app = app_of(home, requests_per_day=1)
    with Service(app) as service:
        assert post(service, "/v1/predict", ONE_ROW["/v1/predict"]).status == 200
        status = 429 if key == KEY else 401
        for length in ((b"content-length", str(LARGE).encode()), (b"transfer-encoding", b"chunked")):
            headers = [(b"content-type", b"application/json"), (b"x-api-key", key.encode()), length]
            assert told(app, service, path, headers, 10_000)[0] == (status, b"close")


def test_a_small_body_is_read_so_that_the_connection_can_be_used_again(home: Path) -> None:
    app = app_of(home)
    with Service(app) as service:
        for length in (b"0", b"65536"):
            headers = [(b"content-type", b"application/json"), (b"content-length", length)]
            *parts, answer = told(app, service, "/v1/predict", headers, 100)
            assert (set(parts), answer) == ({"part"}, (401, None))
        body = json.dumps(ONE_ROW["/v1/predict"]).encode()
        assert service.post("/v1/predict", body).headers["www-authenticate"] == "Bearer"
