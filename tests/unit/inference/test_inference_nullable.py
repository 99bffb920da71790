"""A feature that product.yaml says is never null: without it there is no answer, whatever protocol asks."""

import json

import msgspec
import pytest
from support.logged_inference import create
from support.packages import release_package
from support.products import SPEC, copy_policy
from support.service import Service
from support.settings import Settings

from beacon_core.platform.product_file import load_product
from beacon_inference.openapi import openapi
from beacon_inference.prediction.feature_client import FeatureClient


@pytest.fixture(scope="module")
def strict_settings(tmp_path_factory):
    """The real product, but RM and RAD are never null."""
    home = tmp_path_factory.mktemp("strict")
    text = SPEC.read_text()
    lines = [
        line.replace("nullable: true", "nullable: false") if line.startswith(("  RM:", "  RAD:")) else line
        for line in text.splitlines()
    ]
    (home / "product.yaml").write_text("\n".join(lines))
    copy_policy(home)
    product = load_product(home / "product.yaml")
    assert sum(not feature.nullable for feature in product.features) == 2
    release_package(home, product)
    return Settings(home=home, product=home / "product.yaml")


@pytest.fixture(scope="module")
def service(strict_settings):
    with Service(create(strict_settings)) as running:
        yield running


def without(row, name):
    return {key: value for key, value in row.items() if key != name}


def test_a_whole_row_and_one_that_lacks_another_feature_are_answered(service, row):
    assert service.post("/v1/predict", {"features": row}).status == 200
    answer = service.post("/v1/predict", {"features": without(row, "LSTAT")})
    assert answer.json()["imputed"] == ["LSTAT"]


@pytest.mark.parametrize("name", ["RM", "RAD"])
@pytest.mark.parametrize("null", [True, False])
def test_null_or_absent_it_is_refused_and_named(service, row, name, null):
    features = row | {name: None} if null else without(row, name)
    before = service.metrics()
    answer = service.post("/v1/predict", {"features": features})
    assert answer.error() == (422, "missing_feature", f"features.{name}")
    assert answer.json()["error"] == f"{name} must be known: it is never imputed"
    after = service.metrics()
    counted = "api_errors_total{endpoint=/v1/predict,error_type=missing_feature}"
    assert after[counted] == before[counted] + 1
    assert after[f"model_imputations_total{{feature={name}}}"] == 0


def test_in_a_batch_the_row_is_named(service, row):
    rows = [{"features": row}, {"features": row}, {"features": row | {"RM": None}}]
    answer = service.post("/v1/predict/batch", {"rows": rows})
    assert answer.error() == (422, "missing_feature", "rows[2].features.RM")


def test_while_feature_serving_is_down_the_lack_is_not_the_clients(service, row, monkeypatch):
    async def hang(*_):
        raise TimeoutError

    monkeypatch.setattr(FeatureClient, "_request", hang)
    request = {"features": without(row, "RM"), "entity": {"tract_id": 1}}
    assert service.post("/v1/predict", request).error() == (503, "feature_store_unavailable", "entity")
    answer = service.post("/v1/predict", {"features": without(row, "LSTAT"), "entity": {"tract_id": 1}})
    assert (answer.status, answer.json()["imputed"]) == (200, ["LSTAT"])


V1, V2, MLFLOW = "/v1/models/boston-housing:predict", "/v2/models/boston-housing/infer", "/invocations"


def tensor(row, *lacking):
    values = [[None if name in lacking else value for name, value in row.items()]]
    return {"inputs": [{"name": "features", "shape": [1, len(row)], "datatype": "FP64", "data": values}]}


def columns(row, *lacking):
    named = [(name, value) for name, value in row.items() if name not in lacking]
    return {"inputs": [{"name": name, "shape": [1], "datatype": "FP64", "data": [value]} for name, value in named]}


def split(row, *lacking):
    return {"dataframe_split": {"columns": list(row), "data": [[None if n in lacking else v for n, v in row.items()]]}}


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (V1, lambda row: {"instances": [row, without(row, "RM")]}, "instances[1].RM"),
        (V1, lambda row: {"inputs": {name: [value, None] for name, value in row.items()}}, "inputs[1].RM"),
        (V2, lambda row: tensor(row, "RM"), "inputs[0].data[0].RM"),
        (V2, lambda row: columns(row, "RM"), "inputs[0].RM"),
        (MLFLOW, lambda row: split(row, "RM"), "dataframe_split.data[0].RM"),
        (MLFLOW, lambda row: {"dataframe_records": [without(row, "RM")]}, "dataframe_records[0].RM"),
    ],
)
def test_every_protocol_refuses_it(service, row, path, body, field):
    assert service.post(path, body(row)).error() == (422, "missing_feature", field)


def test_in_csv_too(service, row):
    lines = [",".join(row), ",".join("NA" if name == "RM" else str(value) for name, value in row.items())]
    answer = service.post(MLFLOW, "\n".join(lines).encode(), [("Content-Type", "text/csv")])
    assert answer.error() == (422, "missing_feature", "rows[0].RM")


def test_the_document_says_it_and_its_examples_hold(service, strict_settings, product):
    document = json.loads(msgspec.json.encode(openapi(load_product(strict_settings.product), strict_settings)))
    described = document["components"]["schemas"]["Features"]["properties"]
    assert "never imputed" in described["RM"]["description"]
    assert "never imputed" not in described["LSTAT"]["description"]
    content = document["paths"]["/v1/predict"]["post"]["requestBody"]["content"]["application/json"]
    assert service.post("/v1/predict", content["examples"]["imputed"]["value"]).status == 200
