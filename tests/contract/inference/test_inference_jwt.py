"""Inference with the JWTs of an issuer that runs: from the request to the answer, the log line and the metrics."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.issuer import Issuer, new_key
from support.logged_inference import create
from support.packages import release_package, row_of
from support.products import MIXED
from support.server import serving
from support.service import METRICS_PORT, PORT, Service
from support.settings import Settings
from support.waiting import until

from beacon_core.platform.product_file import load_product

pytestmark = pytest.mark.slow

PRODUCT = load_product(MIXED)
ROW = {name: value for name, value in zip(PRODUCT.feature_names, row_of(PRODUCT), strict=True) if value is not None}
BODY = {"features": ROW}
AWAY = "the JWT cannot be checked: its issuer's keys could not be fetched yet"


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as running:
        yield running


@pytest.fixture
def closed(tmp_path: Path, issuer: Issuer) -> Iterator[Service]:
    """Inference, whose every route needs a key or a token."""
    release_package(tmp_path, PRODUCT)
    settings = Settings(
        home=tmp_path,
        product=MIXED,
        inference_port=PORT,
        inference_metrics_port=METRICS_PORT,
        closed_scopes=("predict", "explain"),
        jwt_issuer=issuer.url,
        jwt_audience="beacon",
        jwt_jwks_url=issuer.jwks_url,
    )
    with Service(create(settings)) as running:
        yield running


def bearer(token: str) -> list[tuple[str, str]]:
    return [("Authorization", f"Bearer {token}")]


def test_a_client_with_a_token_predicts_and_is_named(closed: Service, issuer: Issuer, capfdbinary: Any) -> None:
    token = issuer.client_credentials("web-shop", "predict read_log")
    answer = closed.post("/v1/predict", BODY, bearer(token))
    assert answer.status == 200
    predicted = answer.json()["prediction_id"]
    assert closed.get(f"/v1/predictions/{predicted}", bearer(token)).json()["client"] == "jwt:web-shop"
    assert closed.metrics()["beacon_client_requests_total{client=jwt:web-shop,status=200}"] == 2
    assert closed.metrics()["model_client_predictions_total{client=jwt:web-shop}"] == 1
    assert closed.metrics()["beacon_jwt_issuer_keys"] == 1
    written = capfdbinary.readouterr().err
    lines = [json.loads(line) for line in written.splitlines() if line.startswith(b"{")]
    clients = [line["client"] for line in lines if line.get("endpoint") == "/v1/predict"]
    assert clients == ["jwt:web-shop"]
    assert token.encode() not in written


def test_errors_have_the_one_shape(closed: Service, issuer: Issuer) -> None:
    answer = closed.post("/v1/predict", BODY, bearer(issuer.sign(issuer.claims(scope="actuals"))))
    assert answer.error() == (403, "forbidden", "Authorization")
    assert answer.headers["www-authenticate"] == 'Bearer error="insufficient_scope"'
    for token in (issuer.sign(issuer.claims(aud="x")), issuer.sign(issuer.claims(), new_key("nobody")), "a.b.c"):
        answer = closed.post("/v1/predict", BODY, bearer(token))
        assert answer.error() == (401, "unauthorized", "Authorization")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert closed.post("/v1/predict", BODY).error() == (401, "unauthorized", "X-API-Key")
    assert closed.post("/v1/predict", BODY, bearer("nobody's")).error() == (401, "unauthorized", "X-API-Key")


def test_the_key_of_a_first_request_is_waited_for(closed: Service, issuer: Issuer) -> None:
    issuer.keys.append(new_key("second"))
    answer = closed.post("/v1/predict", BODY, bearer(issuer.sign(issuer.claims(scope="predict"))))
    assert answer.status == 200


def test_a_server_starts_and_answers_keys_while_the_issuer_is_away(tmp_path: Path) -> None:
    release_package(tmp_path, PRODUCT)
    issuer = Issuer()
    token = issuer.sign(issuer.claims(scope="actuals read_log"))
    settings = {"jwt_issuer": issuer.url, "jwt_audience": "beacon", "jwt_jwks_url": issuer.jwks_url}
    with serving(tmp_path, product=MIXED, api_key="the key", **settings) as server:
        path = f"{server.address}/v1/predictions/x"
        assert httpx.get(path, headers={"X-API-Key": "the key"}).status_code == 404
        answer = httpx.get(path, headers={"Authorization": f"Bearer {token}"})
        assert (answer.status_code, answer.json()["error"]) == (401, AWAY)
        assert "keys of the JWTs' issuer not fetched" in server.log()
        with issuer:
            began = time.monotonic()
            until(lambda: httpx.get(path, headers={"Authorization": f"Bearer {token}"}).status_code == 404, "it counts")
            assert time.monotonic() - began < 15, "it asks every ten seconds while it has no keys"
    assert "Traceback" not in server.log()
