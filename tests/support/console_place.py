"""A real inference with a prediction in its log, for pages of the console that ask it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from support.packages import release_package, row_of
from support.ports import free_port
from support.products import MIXED
from support.server import Server, serving
from support.service import Service
from support.settings import Settings
from support.waiting import until

from beacon_console.app import create
from beacon_core.domain.pins import Pin
from beacon_core.platform.product_file import load_product

PRODUCT = load_product(MIXED)
KEY = "open-sesame"


class Place(NamedTuple):
    """A real inference, and a prediction that it made of `row` and logged."""

    server: Server
    settings: Settings
    pin: Pin
    row: dict[str, Any]
    prediction: dict[str, Any]

    @property
    def path(self) -> str:
        return f"/predictions/{self.prediction['prediction_id']}/explanation"


@contextmanager
def place_with_prediction(home: Path) -> Iterator[Place]:
    """Start it in `home`, ask, and send an actual."""
    pin = release_package(home, PRODUCT, explained=True)
    nobody = f"http://127.0.0.1:{free_port()}"
    with serving(home, product=MIXED, api_key=KEY, mlflow_url=nobody) as server:
        settings = Settings(home=home, product=MIXED, api_key=KEY, inference_url=server.address, mlflow_url=nobody)
        row = dict(zip(PRODUCT.feature_names, row_of(PRODUCT), strict=True))
        del row[next(feature.name for feature in PRODUCT.features if feature.nullable)]
        made = httpx.post(f"{server.address}/v1/predict", json={"features": row}, timeout=60).json()
        place = Place(server, settings, pin, row, made)
        actual = {"prediction_id": made["prediction_id"], "value": made["prediction"] + 1}
        sent = httpx.post(f"{server.address}/v1/actuals", json=actual, headers={"X-API-Key": KEY}, timeout=60)
        assert sent.json()["accepted"] == 1
        with Service(create(settings)) as console:
            until(lambda: console.get(place.path.rpartition("/")[0]).status == 200, "the prediction is in the store")
        yield place
