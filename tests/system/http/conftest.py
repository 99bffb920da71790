"""Each service that takes requests, running."""

from collections.abc import Iterator
from typing import Any

import pytest
from support.features import TOKEN, fill
from support.http_targets import Target, console_doors, feature_doors, inference_doors
from support.packages import release_package
from support.server import CONSOLE, FEATURES, INFERENCE, serving
from support.settings import Settings

from beacon_core.domain.product import Product

BODY_SECONDS = 2.0
NOBODY = "http://127.0.0.1:9"


@pytest.fixture(scope="module", params=["inference", "feature-serving", "console"])
def target(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, product: Product, row: dict[str, float]
) -> Iterator[Target]:
    """Each service in turn; its log has no error at the end."""
    home = tmp_path_factory.mktemp(request.param)
    named: dict[str, Any] = {"access_log": "false", "body_timeout_seconds": BODY_SECONDS}
    if request.param == "inference":
        release_package(home, product)
        program, doors = INFERENCE, inference_doors(product, row)
    elif request.param == "feature-serving":
        fill(Settings(home=home), product)
        program, doors = FEATURES, feature_doors(product)
        named["feature_token"] = TOKEN
    else:
        program, doors = CONSOLE, console_doors()
        named |= {"console_token": "sesame", "mlflow_url": NOBODY}
    with serving(home, program, **named) as server:
        yield Target(server, doors)
        assert server.process.poll() is None
        assert '"ERROR"' not in server.log(), server.log()
