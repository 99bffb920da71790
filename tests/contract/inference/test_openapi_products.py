"""The OpenAPI document of unusual products: it can be made, is valid, and its examples are answered as it says."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support.doors import DOORS, send
from support.logged_inference import create
from support.packages import release_package
from support.products import MIXED, write_spec
from support.service import Answer, Service
from support.settings import Settings

from beacon_core.domain.product import Product
from beacon_core.platform.product_file import load_product

pytestmark = pytest.mark.slow

NUMBER: dict[str, Any] = {"type": "float"}
LEVELS: dict[str, Any] = {"type": "category", "levels": ["a", "b"]}
NAMED = {"name": "item", "key": "item_id"}
PRODUCTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a feature called price": ({"price": NUMBER, "x": NUMBER}, {}),
    "one feature is enough": ({"x": NUMBER | {"valid": [0, 1]}, "y": NUMBER}, {"min_features": 1}),
    "categories alone": ({"x": LEVELS, "y": LEVELS | {"unseen": "other"}, "z": LEVELS | {"levels": [1, 2]}}, {}),
    "the first alone may be missing": (
        {"x": NUMBER, "y": NUMBER | {"nullable": False}, "z": LEVELS | {"nullable": False}},
        {"entity": NAMED, "min_features": 1},
    ),
    "x beside xM and x_": ({"x": NUMBER, "xM": NUMBER, "x_": NUMBER}, {}),
    "600 features": ({f"column {number}": NUMBER for number in range(600)}, {"entity": NAMED}),
    "open ranges": ({"x": NUMBER | {"valid": [None, 5]}, "d": {"type": "date", "valid": ["2020-01-01", None]}}, {}),
    "times and flags": ({"t": {"type": "timestamp"}, "b": {"type": "bool"}, "m": {"type": "category"}}, {}),
    "a key of two columns": (
        {"x": NUMBER, "shop": {"type": "int"}},
        {"entity": {"name": "stock", "key": ["shop", "sku"], "type": {"sku": "text"}}},
    ),
    "a tiny target": ({"x": NUMBER}, {"target": {"name": "y", "valid": [0, 1e-6], "unit": "mol"}}),
    "a large target": ({"x": NUMBER}, {"target": {"name": "y", "low": 1e8, "high": 1e9, "decimals": 0}}),
}


@pytest.fixture(params=[*PRODUCTS, "mixed"])
def product(request: pytest.FixtureRequest, tmp_path: Path) -> Product:
    if request.param == "mixed":
        return load_product(MIXED)
    features, changes = PRODUCTS[request.param]
    return write_spec(tmp_path, features, **changes)


@pytest.fixture
def service(product: Product, tmp_path: Path) -> Iterator[Service]:
    release_package(tmp_path / "home", product)
    with Service(create(Settings(home=tmp_path / "home", product=product.file))) as running:
        yield running


def test_its_examples_are_answered_as_it_says(service: Service, product: Product) -> None:
    document = service.get("/openapi.json").json()
    assert json.dumps(document)
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    asked = 0
    for path, item in document["paths"].items():
        for name, content_type, body in requests(item.get("post", {})):
            answer = ask(service, path.replace("{name}", product.name).replace("{version}", "1"), content_type, body)
            status, shown = promised(item["post"], name)
            if "entity" in name or name == "unknown_entity":  # no feature store here
                assert answer.status in {503, 422, status}, (path, name, answer.body)
                continue
            assert answer.status == status, (path, name, answer.body)
            if status >= 400:
                assert without_id(answer.json()) == without_id(shown), (path, name)
            schema = item["post"]["responses"][str(status)]["content"]["application/json"]["schema"]
            for value in (answer.json(), shown):
                conforms(value, schema, document)
            if status == 200 and content_type == "application/json":
                conforms(body, item["post"]["requestBody"]["content"][content_type]["schema"], document)
            asked += 1
    assert asked > 20


def test_its_ordinary_row_goes_through_every_door(service: Service, product: Product) -> None:
    row = {feature.name: feature.example for feature in product.features}
    for door, make in DOORS.items():
        answer = send(service, make(product, [row]))
        assert answer.status == 200, (door, answer.body[:300])


def requests(operation: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    for content_type, content in operation.get("requestBody", {}).get("content", {}).items():
        for name, example in content.get("examples", {}).items():
            yield name, content_type, example["value"]


def promised(operation: dict[str, Any], name: str) -> tuple[int, Any]:
    for status, response in operation["responses"].items():
        for content in response["content"].values():
            if name in content.get("examples", {}):
                return int(status), content["examples"][name]["value"]
    raise AssertionError(f"no answer to {name} is shown")


def ask(service: Service, path: str, content_type: str, body: Any) -> Answer:
    content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return service.post(path, content, [("content-type", content_type)])


def without_id(body: Any) -> Any:
    return {key: value for key, value in body.items() if key != "request_id"}


def conforms(value: Any, schema: Any, document: dict[str, Any]) -> None:
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", "components": document["components"], **schema}
    jsonschema.Draft202012Validator(whole).validate(value)
