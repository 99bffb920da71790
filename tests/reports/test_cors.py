"""CORS: off unless a setting names origins; then every route and every error is readable there, and nowhere else."""

import socket

import httpx
import pytest
from support.packages import release_package, row_of
from support.products import SPEC
from support.server import serving

from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import SettingsError, load_settings

pytestmark = pytest.mark.xdist_group("reports")

PRODUCT = load_product(SPEC)
ROW = dict(zip(PRODUCT.feature_names, row_of(PRODUCT), strict=True))
APP, LOCAL = "https://app.example.com", "http://localhost:3000"
ROUTES = [
    *(("POST", "/v1/predict"), ("POST", "/v1/predict/batch"), ("POST", "/invocations"), ("POST", "/v1/actuals")),
    *(("POST", f"/v2/models/{PRODUCT.name}/infer"), ("POST", f"/v1/models/{PRODUCT.name}:predict")),
    *(("GET", "/v2/health/ready"), ("GET", "/readyz"), ("GET", f"/v2/models/{PRODUCT.name}"), ("GET", "/openapi.json")),
    *(("GET", "/v1/predictions/nobody"), ("GET", "/docs"), ("GET", "/no/such/route")),
]
OTHERS = [
    *("https://evil.example.com", "https://app.example.com.evil.com", "https://evil-app.example.com", "null", ""),
    *("http://app.example.com", "https://app.example.com:8443", "https://APP.example.com", "https://app.example.com/"),
    *("http://localhost", "http://localhost:30000", "http://127.0.0.1:3000", "*", f"{APP}, {LOCAL}"),
]


def served(tmp_path_factory, origins):
    home = tmp_path_factory.mktemp("cors")
    release_package(home, PRODUCT)
    with (
        serving(home, cors_origins=origins, max_body_bytes=10_000) as server,
        httpx.Client(base_url=server.address, timeout=60) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def open_to_two(tmp_path_factory):
    yield from served(tmp_path_factory, f" {APP} ,{LOCAL},https://other.example.com:443")


@pytest.fixture(scope="module")
def open_to_all(tmp_path_factory):
    yield from served(tmp_path_factory, "*")


def of_cors(answer):
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


def preflight(client, path, origin, method="POST", headers="content-type,x-api-key"):
    asked = {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
    return client.options(path, headers=asked)


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_without_the_setting_nothing_is_told(inference, method, path):
    answer = inference.request(method, path, headers={"Origin": APP}, json={} if method == "POST" else None)
    assert of_cors(answer) == {}
    assert "vary" not in answer.headers
    assert of_cors(preflight(inference, path, APP)) == {}


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("origin", [APP, LOCAL, "https://other.example.com"])
def test_a_page_of_a_named_origin_may_ask_every_route(open_to_two, method, path, origin):
    told = preflight(open_to_two, path, origin, method)
    assert told.status_code == 200
    assert told.content == b""
    assert told.headers["access-control-allow-origin"] == origin
    assert method in told.headers["access-control-allow-methods"].split(", ")
    allowed = set(told.headers["access-control-allow-headers"].split(", "))
    wanted = {"content-type", "x-api-key", "authorization", "idempotency-key", "x-request-id", "traceparent"}
    assert wanted | {"inference-header-content-length", "beacon-synthetic"} <= allowed
    assert "access-control-allow-credentials" not in told.headers
    assert told.headers["x-request-id"]
    answer = open_to_two.request(method, path, headers={"Origin": origin}, json={} if method == "POST" else None)
    assert answer.headers["access-control-allow-origin"] == origin
    assert "x-request-id" in answer.headers["access-control-expose-headers"]
    assert answer.headers["vary"] == "Origin"


def test_a_prediction_and_its_headers_can_be_read(open_to_two):
    answer = open_to_two.post("/v1/predict", json={"features": ROW}, headers={"Origin": APP})
    assert answer.status_code == 200
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    for name in ("beacon-model-version", "beacon-logged", "server-timing", "x-request-id"):
        assert name in answer.headers
        assert name in exposed


ERRORS = {
    "400": ("POST", "/v1/predict", b"{", {}),
    "404": ("GET", "/no/such/route", b"", {}),
    "404 of Flask": ("GET", "/v2/models/other", b"", {}),
    "405": ("PUT", "/v1/predict", b"", {}),
    "405 of Flask": ("DELETE", "/v1/actuals", b"", {}),
    "413": ("POST", "/v1/predict", b" " * 10_001, {}),
    "413 of Flask": ("POST", "/v1/actuals", b" " * 10_001, {}),
    "415": ("POST", "/v1/predict", b"{}", {"Content-Type": "text/plain"}),
    "422": ("POST", "/v1/predict", b'{"features":{"x":1}}', {"Content-Type": "application/json"}),
    "503": ("POST", "/v1/predict", b'{"entity":{"%s":1}}' % PRODUCT.entity.key.encode(), {}),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_can_be_read_too(open_to_two, open_to_all, name):
    method, path, body, headers = ERRORS[name]
    for client, told in ((open_to_two, APP), (open_to_all, "*")):
        answer = client.request(method, path, content=body, headers=headers | {"Origin": APP})
        assert answer.status_code == int(name[:3]), answer.text
        assert answer.headers["access-control-allow-origin"] == told


@pytest.mark.parametrize("origin", OTHERS)
def test_another_origin_is_told_nothing(open_to_two, origin):
    assert of_cors(preflight(open_to_two, "/v1/predict", origin)) == {}
    answer = open_to_two.post("/v1/predict", json={"features": ROW}, headers={"Origin": origin})
    assert answer.status_code == 200  # it is the browser that keeps the page from reading it
    assert of_cors(answer) == {}
    assert answer.headers["vary"] == "Origin"


def test_a_request_without_an_origin_is_answered_as_ever(open_to_two, open_to_all):
    for client in (open_to_two, open_to_all):
        answer = client.post("/v1/predict", json={"features": ROW})
        assert (answer.status_code, of_cors(answer)) == (200, {})
        assert client.options("/v1/predict", headers={"Origin": APP}).status_code == 405  # no preflight
    assert open_to_two.get("/docs").headers["vary"] == "Origin"
    assert "vary" not in open_to_all.get("/docs").headers


@pytest.mark.parametrize("origin", [APP, "https://any.example.org", "null"])
def test_a_star_is_for_every_origin_and_never_for_credentials(open_to_all, origin):
    for answer in (
        preflight(open_to_all, "/v1/predict", origin),
        open_to_all.post("/v1/predict", json={"features": ROW}, headers={"Origin": origin, "Cookie": "a=b"}),
    ):
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers


def test_a_preflight_is_logged_and_counted_but_is_no_prediction(tmp_path_factory):
    home = tmp_path_factory.mktemp("counted")
    release_package(home, PRODUCT)
    with serving(home, cors_origins=APP) as server:
        for _ in range(3):
            assert httpx.options(
                f"{server.address}/v1/predict", headers={"Origin": APP, "Access-Control-Request-Method": "POST"}
            ).is_success
        text = httpx.get(f"http://127.0.0.1:{server.metrics_port}/metrics", headers={"Origin": APP})
        assert of_cors(text) == {}  # metrics are for no page
        assert 'http_requests_total{endpoint="preflight",method="OPTIONS",status="200"} 3.0' in text.text
        assert 'endpoint="/v1/predict",method="OPTIONS"' not in text.text
        assert '"endpoint":"preflight"' in server.log()


def test_a_header_cannot_be_smuggled_through_the_origin(open_to_two):
    host, port = open_to_two.base_url.host, open_to_two.base_url.port
    with socket.create_connection((host, port), 30) as connection:
        connection.sendall(
            b"OPTIONS /v1/predict HTTP/1.1\r\nHost: x\r\nOrigin: https://app.example.com\x0bSet-Cookie: a=b\r\n"
            b"Access-Control-Request-Method: POST\r\nConnection: close\r\n\r\n"
        )
        answer = b""
        while part := connection.recv(65536):
            answer += part
    assert b"set-cookie" not in answer.lower()
    assert b"access-control" not in answer.lower()


def test_feature_serving_is_for_no_page(feature_server):
    answer = httpx.options(
        f"{feature_server}/get-online-features", headers={"Origin": APP, "Access-Control-Request-Method": "POST"}
    )
    assert of_cors(answer) == {}


GOOD = {
    "": (),
    " ": (),
    APP: (APP,),
    "HTTPS://App.Example.COM": (APP,),
    f"{APP}:443,http://a:80,http://b:8080": (APP, "http://a", "http://b:8080"),
    f"{APP} , {LOCAL},": (APP, LOCAL),
    "http://[::1]:3000": ("http://[::1]:3000",),
    "*": ("*",),
}
BAD = [
    *(
        "app.example.com",
        f"{APP}/",
        f"{APP}/app",
        "null",
        "https://*.example.com",
        "*.example.com",
        "ftp://a",
        "https://",
    ),
    *(
        f"{APP} {LOCAL}",
        f"*,{APP}",
        "https://a:99999",
        "https://a:b",
        "https://u:p@a",
        "https://bücher.de",
        "true",
    ),
    f"{APP}\r\nX: y",
]


@pytest.mark.parametrize("text", GOOD)
def test_origins_are_read_as_browsers_write_them(text):
    assert load_settings({"BEACON_CORS_ORIGINS": text}).cors_origins == GOOD[text]


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_origin_is_refused_at_the_start(text):
    with pytest.raises(SettingsError, match="BEACON_CORS_ORIGINS"):
        load_settings({"BEACON_CORS_ORIGINS": text})
