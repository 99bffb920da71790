"""Who may ask inference for what: every route and every kind of key, on a product with features of each type."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.api_keys import entry, keys_for, write_keys
from support.fuzzing import cases
from support.logged_inference import create
from support.packages import release_package, row_of
from support.products import MIXED
from support.service import METRICS_PORT, PORT, Service
from support.settings import Settings

from beacon_core.domain.api_keys import new_key
from beacon_core.platform.product_file import load_product

PRODUCT = load_product(MIXED)
ROW = {name: value for name, value in zip(PRODUCT.feature_names, row_of(PRODUCT), strict=True) if value is not None}
PREDICTING = {
    "/v1/predict": {"features": ROW},
    "/v1/predict/batch": {"rows": [{"features": ROW}]},
    f"/v1/models/{PRODUCT.name}:predict": {"instances": [ROW]},
    "/invocations": {"dataframe_records": [ROW]},
}
SCOPES = ("predict", "explain", "actuals", "read_log", "synthetic", "push")
KEYS = keys_for(*SCOPES)
EXPIRED = new_key()
FEW = 500


@pytest.fixture
def own_home(tmp_path: Path) -> Path:
    """A home with a model of that product released, and a file with a key for each scope."""
    release_package(tmp_path, PRODUCT)
    entries = [entry(f"only-{scope.replace('_', '-')}", key, scope) for scope, key in KEYS.items()]
    late = entry("late", EXPIRED, *SCOPES, expires="2020-01-01")
    write_keys(tmp_path / "keys.json", *entries, late)
    return tmp_path


def settings_of(home: Path, **changes: Any) -> Settings:
    ports = {"inference_port": PORT, "inference_metrics_port": METRICS_PORT}
    return Settings(home=home, product=MIXED, api_keys_file=home / "keys.json", **ports, **changes)


@pytest.fixture
def closed(own_home: Path) -> Iterator[Service]:
    """Inference, whose every route needs a key."""
    with Service(create(settings_of(own_home, closed_scopes=("predict", "explain")))) as running:
        yield running


def statuses(service: Service, path: str, body: Any, *more: tuple[str, str]) -> dict[str, int]:
    """The status that the holder of each key gets."""

    def status(key: str) -> int:
        headers = [("X-API-Key", key), *more]
        return (service.get(path, headers) if body is None else service.post(path, body, headers)).status

    return {name: status(key) for name, key in {**KEYS, "expired": EXPIRED, "wrong": "no", "none": ""}.items()}


def allowed(*scopes: str, status: int = 200) -> dict[str, int]:
    return {scope: status if scope in scopes else 403 for scope in SCOPES} | dict.fromkeys(
        ("expired", "wrong", "none"), 401
    )


@pytest.mark.parametrize("path", list(PREDICTING))
def test_every_protocol_predicts_for_the_scope_predict_alone(closed: Service, path: str) -> None:
    assert statuses(closed, path, PREDICTING[path]) == allowed("predict")


def test_each_other_route_has_its_own_scope(closed: Service) -> None:
    predicted = closed.post("/v1/predict", {"features": ROW}, [("X-API-Key", KEYS["predict"])]).json()
    known = predicted["prediction_id"]
    assert statuses(closed, f"/v1/predictions/{known}", None) == allowed("read_log")
    assert statuses(closed, "/v1/actuals", {"prediction_id": known, "value": 1.0}) == allowed("actuals")
    # A logged prediction is explained to those who may read the log, too.
    assert statuses(closed, "/v1/explain", {"prediction_id": known}) == allowed()
    assert statuses(closed, "/v1/predict", {"features": ROW}, ("Beacon-Synthetic", "true")) == allowed()


def test_predictions_stay_open_where_no_setting_closes_them(own_home: Path) -> None:
    with Service(create(settings_of(own_home))) as service:
        assert set(statuses(service, "/v1/predict", {"features": ROW}).values()) == {200}
        synthetic = statuses(service, "/v1/predict", {"features": ROW}, ("Beacon-Synthetic", "true"))
        assert synthetic == allowed("synthetic")
        counted = {name: value for name, value in service.metrics().items() if name.startswith("beacon_client_req")}
        assert counted["beacon_client_requests_total{client=only-predict,status=200}"] == 1
        assert counted["beacon_client_requests_total{client=only-predict,status=403}"] == 1
        assert counted["beacon_client_requests_total{client=anonymous,status=200}"] == 3, "the expired one, too"


def test_an_error_says_which_key_and_which_scope(closed: Service) -> None:
    answer = closed.post("/v1/predict", {"features": ROW}, [("X-API-Key", KEYS["push"])])
    assert answer.error() == (403, "forbidden", "X-API-Key")
    assert answer.json()["error"] == "the API key of only-push has not the scope predict"
    assert answer.headers["www-authenticate"] == 'Bearer error="insufficient_scope"'
    answer = closed.get("/v1/predictions/x", [("X-API-Key", EXPIRED)])
    assert answer.error() == (401, "unauthorized", "X-API-Key")
    assert answer.json()["error"] == "the API key of late expired at 2020-01-01T00:00:00Z"
    assert answer.headers["www-authenticate"] == "Bearer"


def test_the_line_of_a_request_names_its_client(closed: Service, capfdbinary: Any) -> None:
    closed.post("/v1/predict", {"features": ROW}, [("X-API-Key", KEYS["predict"])])
    closed.get("/livez")
    closed.metrics()
    written = capfdbinary.readouterr().err
    lines = [json.loads(line) for line in written.splitlines()]
    clients = {line["endpoint"]: line.get("client") for line in lines if line.get("logger") == "beacon.access"}
    assert clients["/v1/predict"] == "only-predict"
    assert clients["/livez"] is None
    assert KEYS["predict"].encode() not in written


def test_a_logged_prediction_names_its_client(own_home: Path) -> None:
    """Also once it is in the store; an open route takes no notice of an expired key."""
    both, lab = new_key(), new_key()
    entries = [entry("web.shop-1", both, "predict", "read_log"), entry("lab", lab, "actuals")]
    write_keys(own_home / "keys.json", *entries, entry("late", EXPIRED, "predict", expires="2020-01-01"))
    with Service(create(settings_of(own_home))) as service:
        wanted = {}
        for key, client in ((both, "web.shop-1"), (lab, "lab"), (EXPIRED, None), ("wrong", None), ("", None)):
            answer = service.post("/v1/predict", {"features": ROW}, [("X-API-Key", key)]).json()
            wanted[answer["prediction_id"]] = client

        def logged() -> dict[str, Any]:
            return {
                name: service.get(f"/v1/predictions/{name}", [("X-API-Key", both)]).json()["client"] for name in wanted
            }

        assert logged() == wanted
        shipped = "beacon_prediction_log_shipped_total"
        service.until(lambda: service.app.log_metrics()[shipped] == 5, "all are in the store")
        assert logged() == wanted


def test_without_keys_a_logged_prediction_names_no_client(own_home: Path) -> None:
    ports = {"inference_port": PORT, "inference_metrics_port": METRICS_PORT}
    with Service(create(Settings(home=own_home, product=MIXED, **ports))) as service:
        name = service.post("/v1/predict", {"features": ROW}, [("X-API-Key", "a-key")]).json()["prediction_id"]
        assert service.get(f"/v1/predictions/{name}").json()["client"] is None


def test_a_key_can_be_changed_while_the_service_runs(closed: Service, own_home: Path) -> None:
    new = new_key()

    def status() -> int:
        return closed.post("/v1/predict", {"features": ROW}, [("X-API-Key", new)]).status

    assert status() == 401
    write_keys(own_home / "keys.json", entry("only-predict", new, "predict"))
    closed.until(lambda: status() == 200, "the new key counts")
    assert closed.post("/v1/predict", {"features": ROW}, [("X-API-Key", KEYS["predict"])]).status == 401
    (own_home / "keys.json").write_text("keys: {", encoding="utf-8")
    closed.until(lambda: closed.metrics()["beacon_api_keys_file_failures_total"] >= 1, "the bad file is counted")
    assert status() == 200


def test_no_header_breaks_the_check(closed: Service) -> None:
    """Random bytes, cut and doubled keys, in either header."""
    chance = random.Random(7)
    pieces = [
        b"Bearer",
        b"bearer",
        b"Basic",
        b" ",
        b"\t",
        b",",
        b"",
        b"\xff\xfe",
        b"=",
        *(k.encode() for k in KEYS.values()),
    ]
    found: set[int] = set()
    body = json.dumps({"features": ROW}).encode()
    for _ in range(cases(FEW)):
        value = b"".join(chance.choices(pieces, k=chance.randrange(5))) + chance.randbytes(chance.randrange(4))
        names = chance.choices([b"x-api-key", b"authorization"], k=chance.randrange(1, 4))
        headers = [(name, value) for name in names] + [(b"content-length", str(len(body)).encode())]
        found.add(closed.run(closed.send("POST", "/v1/predict", headers, [body])).status)
    assert found <= {200, 401, 403}
    assert {200, 401, 403} <= found


@pytest.mark.parametrize(("host", "key", "warned"), [("0.0.0.0", "", 1), ("0.0.0.0", "a-key", 0), ("127.0.0.1", "", 0)])
def test_a_service_for_others_that_needs_no_key_says_so(
    own_home: Path, caplog: pytest.LogCaptureFixture, host: str, key: str, warned: int
) -> None:
    create(Settings(home=own_home, product=MIXED, host=host, api_key=key))
    assert caplog.text.count("no API key is set") == warned
