"""The OpenAPI document tells the truth: its examples work, its routes are all there are, its schemas hold."""

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jsonschema
import msgspec
import pytest
from support import fuzzing
from support.features import fill, serve_features
from support.inference import Inference, Reply
from support.packages import release_package
from support.ports import free_port
from support.products import SPEC
from support.settings import Settings

from beacon_core.domain.error_codes import STATUS_OF
from beacon_core.domain.product import Product
from beacon_core.platform.product_file import load_product
from beacon_inference.openapi import openapi
from beacon_inference.openapi.document import JSON
from beacon_inference.openapi.examples import Examples
from beacon_inference.openapi.operations import operations
from beacon_inference.openapi.shapes import described, shapes
from beacon_inference.protocols.messages import ModelPin

pytestmark = [pytest.mark.xdist_group("openapi"), pytest.mark.slow]
PRODUCT = load_product(SPEC)
DOCUMENT: dict[str, Any] = json.loads(json.dumps(openapi(PRODUCT, Settings())))
OPERATIONS = {
    (method, path): operation for path, item in DOCUMENT["paths"].items() for method, operation in item.items()
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inference]:
    """Inference and the feature serving that it asks, both as processes."""
    folder = tmp_path_factory.mktemp("openapi")
    home = folder / "home"
    release_package(home, PRODUCT, explained=True)
    features = Settings(home=home, features_port=free_port(), features_metrics_port=free_port())
    fill(features, PRODUCT)
    (folder / "inference").mkdir()
    options = {"BEACON_FEATURES_PORT": str(features.features_port), "BEACON_FEATURES_TIMEOUT_SECONDS": "20"}
    with serve_features(features, folder), Inference(home, folder / "inference", **options) as running:
        yield running


def resolved(schema: Any) -> Any:
    """The schema with the document's components in reach."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "components": DOCUMENT["components"], **schema}


def conforms(value: Any, schema: Any) -> None:
    jsonschema.Draft202012Validator(resolved(schema)).validate(value)


def requests() -> Iterator[tuple[str, str, str, str, Any]]:
    """Every example: method, path, name, content type, body; routes without one are asked as they are."""
    for (method, path), operation in OPERATIONS.items():
        contents = operation.get("requestBody", {}).get("content", {})
        named = [(n, t, e["value"]) for t, c in contents.items() for n, e in c.get("examples", {}).items()]
        parameters = [name for p in operation.get("parameters", []) for name in p.get("examples", {})]
        for name, content_type, body in named or [(name, "", None) for name in parameters] or [("answer", "", None)]:
            yield method, path, name, content_type, body


def promised(operation: Any, name: str) -> tuple[int, Any]:
    """Status and body that the document gives for an example; 200 where it shows no answer."""
    for status, response in operation["responses"].items():
        for content in response["content"].values():
            if name in content.get("examples", {}):
                return int(status), content["examples"][name]["value"]
    return 200, None


def filled(path: str, operation: Any, name: str) -> str:
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "path":
            value = parameter["example"] if "example" in parameter else parameter["examples"][name]["value"]
            path = path.replace(f"{{{parameter['name']}}}", quote(value))
    assert "{" not in path
    return path


def ask_example(server: Inference, method: str, path: str, name: str, content_type: str, body: Any) -> Reply:
    content = body.encode() if isinstance(body, str) else None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": content_type} if content_type else {}
    return server.ask(method.upper(), filled(path, OPERATIONS[method, path], name), content, headers)


def test_every_example_is_answered_as_the_document_says(server: Inference) -> None:
    asked = 0
    for method, path, name, content_type, body in requests():
        status, shown = promised(OPERATIONS[method, path], name)
        reply = ask_example(server, method, path, name, content_type, body)
        label = f"{method} {path} {name}: {reply.body[:300]!r}"
        assert reply.status == status, label
        content = OPERATIONS[method, path]["responses"][str(status)]["content"]
        kind = reply.headers["content-type"].partition(";")[0]
        value = reply.json() if kind == "application/json" else reply.body.decode()
        conforms(value, content[kind]["schema"])
        if shown is not None:
            conforms(shown, content[kind]["schema"])
        if status >= 400:
            assert without_ids(value) == without_ids(shown), label
        elif isinstance(shown, dict):
            assert shape(value) == shape(shown), label
        asked += 1
    assert asked > 40


def test_real_answers_are_the_structs_that_the_document_is_made_from(server: Inference) -> None:
    """Strictly: every field is there, of its type, and no other field."""
    routes = operations(PRODUCT, Settings(), shapes(PRODUCT, Settings()), Examples(PRODUCT))
    kinds = {(operation.method, operation.path): operation for operation in routes}
    decoded, asked = 0, set()
    for method, path, name, content_type, body in requests():
        reply = ask_example(server, method, path, name, content_type, body)
        if reply.headers["content-type"].partition(";")[0] == JSON:
            kind = kinds[method, path].answers[JSON] if reply.status == 200 else kinds[method, path].error
            msgspec.json.decode(reply.body, type=kind)
            decoded += 1
            asked.add(path)
    assert decoded > 40
    assert {operation.path for operation in routes if JSON in operation.answers} == asked


def test_an_answer_of_another_shape_is_found() -> None:
    known = shapes(PRODUCT, Settings())
    example = next(example for example in Examples(PRODUCT).one() if example.name == "features")
    msgspec.convert(example.answer, known.prediction)
    for wrong in (
        {**example.answer, "unheard": 1},
        {**example.answer, "interval": None},
        {name: value for name, value in example.answer.items() if name != "unit"},
    ):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wrong, known.prediction)


def test_a_type_for_a_field_that_is_not_there_is_refused() -> None:
    with pytest.raises(AssertionError, match="has no unheard"):
        described(ModelPin, unheard=str)


def without_ids(body: Any) -> Any:
    return {key: value for key, value in body.items() if key != "request_id"}


def shape(value: Any) -> Any:
    """Names, types and lengths, and what the answer tells in words; the numbers are the model's own."""
    if isinstance(value, dict):
        own = ("out_of_range",)  # what training saw is the model's own, too
        return {key: shape(item) for key, item in value.items() if key not in own}
    if isinstance(value, list):
        return [shape(item) for item in value]
    if isinstance(value, str):
        return value if re.fullmatch(r"[A-Za-z]{1,12}", value) else "text"
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else value


def test_every_answer_that_is_shown_fits_its_schema() -> None:
    for operation in OPERATIONS.values():
        bodies = [*operation.get("requestBody", {}).get("content", {}).values()]
        accepted = {name for c in operation["responses"]["200"]["content"].values() for name in c.get("examples", {})}
        for content in bodies:
            for name, example in content.get("examples", {}).items():
                if name in accepted:
                    conforms(example["value"], content["schema"])
        for response in operation["responses"].values():
            for content in response["content"].values():
                for example in content.get("examples", {}).values():
                    conforms(example["value"], content["schema"])


def test_every_schema_is_one() -> None:
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_the_document_has_every_route_of_the_service(server: Inference) -> None:
    """Routes are read from the metrics, where each one's series stands at zero from the start."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics", timeout=30) as answer:
        found = re.findall(
            r'^http_requests_total{endpoint="(.*?)",method="(\w+)",status="200"}', answer.read().decode(), re.MULTILINE
        )
    served = {(method.lower(), re.sub(r"<(\w+)>", r"{\1}", path)) for path, method in found}
    assert served - {("get", "unmatched"), ("get", "/")} == set(OPERATIONS)


def test_every_error_code_is_explained_and_belongs_to_a_route() -> None:
    told = {
        code
        for operation in OPERATIONS.values()
        for response in operation["responses"].values()
        for content in response["content"].values()
        for part in content.get("schema", {}).get("allOf", [])
        for code in part.get("properties", {}).get("code", {}).get("enum", [])
    }
    of_no_route = {"not_found", "method_not_allowed", "invalid_request", "uri_too_long", "headers_too_large"}
    # The console's.
    of_no_route |= {
        "verdict_not_passed",
        "second_person_needed",
        "retraining_requested",
        "issuer_unavailable",
        "too_many_attempts",
    }
    assert set(STATUS_OF) - told == {"internal", *of_no_route}


def test_features_are_described_as_product_yaml_has_them(product: Product) -> None:
    described = DOCUMENT["components"]["schemas"]["Features"]["properties"]
    assert tuple(described) == product.feature_names
    for feature in product.features:
        assert feature.unit in described[feature.name]["description"]
        if feature.valid is not None:
            assert (described[feature.name]["minimum"], described[feature.name]["maximum"]) == feature.valid
        else:
            assert described[feature.name]["enum"] == [*(feature.known_levels or ()), None]


def test_the_page_and_the_document_come_without_asking_anybody_else(server: Inference) -> None:
    page = server.ask("GET", "/docs").body.decode()
    assert PRODUCT.title in page
    assert not re.findall(r"(?:src|href)=[\"']?(?:https?:)?//|url\((?!#|data:)|@import", page)
    assert server.ask("GET", "/").body.decode().startswith("<!doctype html>")
    assert json.loads(server.ask("GET", "/openapi.json").body)["info"] == DOCUMENT["info"]


@pytest.mark.timeout(300 + 10 * fuzzing.EXAMPLES)
def test_schemathesis_finds_nothing(server: Inference, tmp_path: Path) -> None:
    """Statuses, content types, schemas of answers, refusal of bad input: whatever it makes up."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"]
    options = [
        "--max-examples",
        str(fuzzing.EXAMPLES),
        "--seed",
        fuzzing.SEED or "1",
        "--suppress-health-check",
        "too_slow",
        "--request-timeout",
        "60",
        "--continue-on-failure",
        "--no-color",
        "--phases",
        fuzzing.PHASES,
        "--exclude-checks",
        "positive_data_acceptance",
    ]
    run = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-20000:] + run.stderr[-2000:]


@pytest.mark.parametrize("path", ["/livez", "/docs", "/v1/predict"])
def test_a_connection_answers_one_request_after_another(server: Inference, path: str) -> None:
    connection = HTTPConnection(server.host, timeout=30)
    for method in ("GET", "HEAD", "PUT", "OPTIONS", "GET") * 4:
        connection.request(method, path)
        answer = connection.getresponse()
        answer.read()
        assert answer.status in {200, 405}
    connection.close()
