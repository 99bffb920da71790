"""A feature of `type: int` is whole at every door: 17.0 is, 2.5 is not (the data file: test_data_files.py)."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import insert
from support.history import prediction_row
from support.logged_inference import create
from support.packages import build_package, release_package
from support.products import write_product
from support.service import Answer, Service
from support.settings import Settings

from beacon_core.data.database import open_store
from beacon_core.data.evidence import EVERYTHING
from beacon_core.data.tables import metadata, predictions
from beacon_core.domain.product import Product
from beacon_core.domain.spec import ProductError
from beacon_core.model_package.manifest import read_package
from beacon_core.model_package.release import package_folder
from beacon_promotion.analysis.sampled_requests import sample_requests
from beacon_retraining.data.validate import valid_rows
from beacon_retraining.training.imputation import fit_fill

TABLE = {"size": [10.5, 12.5], "rooms": [3, 4], "price": [100, 120]}
ROOMS = {"type": "int", "valid": [-10, 100]}


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Product:
    return write_product(tmp_path_factory.mktemp("product"), TABLE, "price", columns={"rooms": ROOMS})


@pytest.fixture(scope="module")
def service(product: Product, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("home")
    release_package(home, product)
    with Service(create(Settings(home=home, product=product.file))) as running:
        yield running


def ask(service: Service, door: str, rooms: str) -> Answer:
    """Ask with `rooms` as it is written in the body."""
    row = f'{{"size":11.5,"rooms":{rooms}}}'
    tensor = f'{{"name":"rows","shape":[1,2],"datatype":"FP64","data":[11.5,{rooms}]}}'
    path, body, kind = {
        "native": ("/v1/predict", f'{{"features":{row}}}', "application/json"),
        "batch": ("/v1/predict/batch", f'{{"rows":[{{"features":{row}}}]}}', "application/json"),
        "V2": ("/v2/models/items/infer", f'{{"inputs":[{tensor}]}}', "application/json"),
        "V1": ("/v1/models/items:predict", f'{{"instances":[[11.5,{rooms}]]}}', "application/json"),
        "records": ("/invocations", f'{{"dataframe_records":[{row}]}}', "application/json"),
        "CSV": ("/invocations", f"rooms,size\n{rooms},11.5\n", "text/csv"),
    }[door]
    return service.post(path, body.encode(), [("Content-Type", kind)])


DOORS = ("native", "batch", "V2", "V1", "records", "CSV")


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("rooms", ["17", "17.0", "1.7e1", "-0.0"])
def test_a_whole_number_is_taken_however_it_is_written(service: Service, door: str, rooms: str) -> None:
    assert ask(service, door, rooms).status == 200


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("rooms", ["2.5", "3.0000000000000004", "-1e-9"])
def test_part_of_one_is_refused_by_name_and_rule(service: Service, door: str, rooms: str) -> None:
    answer = ask(service, door, rooms)
    body = json.loads(answer.body)
    assert (answer.status, body["code"]) == (422, "invalid_type")
    assert body["field"].endswith("rooms")
    assert "must be a whole number" in body["error"]


def test_out_of_range_and_missing_stay_what_they_were(service: Service) -> None:
    assert json.loads(ask(service, "native", "101").body)["code"] == "out_of_valid_range"
    assert json.loads(ask(service, "native", "1e999").body)["code"] == "not_finite"
    assert json.loads(ask(service, "native", "null").body)["code"] == "too_few_features"
    rows = [{"features": {"size": 1.0, "rooms": 2}}, {"features": {"size": 2.0, "rooms": 2.5}}]
    assert json.loads(service.post("/v1/predict/batch", {"rows": rows}).body)["field"] == "rows[1].features.rooms"


def test_the_document_says_so(service: Service) -> None:
    features = service.get("/openapi.json").json()["components"]["schemas"]["Features"]["properties"]
    assert features["rooms"]["type"] == ["integer", "null"]
    assert features["size"]["type"] == ["number", "null"]


def test_a_labelled_prediction_with_part_of_one_is_set_aside(product: Product) -> None:
    labels = pd.DataFrame({"size": [1.5] * 4, "rooms": [2.0, 2.5, None, -3.0], "price": [100.0] * 4})
    assert valid_rows(labels, product).tolist() == [True, False, True, True]


def test_what_is_filled_in_is_whole_too(product: Product) -> None:
    features = np.array([[1.5, 3.0], [2.5, 4.0], [np.nan, np.nan]])
    assert fit_fill(features, product).tolist() == [2.0, 3.0]


def test_what_a_promotion_asks_is_answered(service: Service, product: Product, tmp_path: Path) -> None:
    """Made-up rows follow quantiles; logged ones may be from before parts of whole numbers were refused."""
    pin = build_package(tmp_path, product, "2")
    manifest = read_package(package_folder(tmp_path, pin), pin.sha256).manifest
    assert any(not facts.min.is_integer() or not facts.quantiles[0].is_integer() for facts in manifest.features)
    engine = open_store(f"sqlite:///{tmp_path / 'beacon.db'}")
    metadata.create_all(engine)
    now = datetime.now(UTC)
    logged = [prediction_row(product, number, now, "1") for number in range(20)]
    for number, row in enumerate(logged):
        row["features"] = {"size": 11.0 + number, "rooms": number / 2}
    with engine.begin() as connection:
        connection.execute(insert(predictions), logged)
    rows = sample_requests(engine, EVERYTHING, product.schema, manifest, 60)
    engine.dispose()
    assert len(rows) == 60
    assert sum(row.features["size"] == 11 + 2 * row.features.get("rooms", -1) for row in rows) == 10
    for row in rows:
        assert service.post("/v1/predict", {"features": row.features}).status == 200, row


def test_product_yaml_may_not_give_part_of_one_as_its_example(tmp_path: Path) -> None:
    with pytest.raises(ProductError, match=r"features\.rooms\.example: must be a whole number .*, is 2\.5"):
        write_product(tmp_path, TABLE, "price", columns={"rooms": ROOMS | {"example": 2.5}})
