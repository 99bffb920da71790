"""What tests of reports share: the real servers, each started once, for tests that leave nothing behind but records.

Feast is imported by the fixtures alone: pytest reads this file before it starts its workers, and Feast's import would
leave them an environment in which prometheus_client counts in files.
"""

from collections.abc import Iterator

import httpx
import pytest
from support.packages import release_package
from support.ports import free_ports
from support.server import Server, serving
from support.settings import Settings

from beacon_core.domain.product import Product


@pytest.fixture(scope="session")
def feature_server(tmp_path_factory: pytest.TempPathFactory, product: Product) -> Iterator[str]:
    """`python -m beacon_feature_serving` on a filled SQLite store; its address."""
    from support.features import TOKEN, fill, serve_features

    home = tmp_path_factory.mktemp("features")
    port, metrics_port = free_ports(2)
    settings = Settings(home=home, features_port=port, features_metrics_port=metrics_port, feature_token=TOKEN)
    fill(settings, product)
    with serve_features(settings, home):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def features(feature_server: str) -> Iterator[httpx.Client]:
    """A client of feature serving that may write."""
    from support.features import TOKEN

    with httpx.Client(base_url=feature_server, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def inference_server(
    tmp_path_factory: pytest.TempPathFactory, product: Product, feature_server: str
) -> Iterator[Server]:
    """`python -m beacon_inference`, which looks its features up there and waits for them as long as it must."""
    home = tmp_path_factory.mktemp("inference")
    release_package(home, product)
    with serving(home, features_url=feature_server, features_timeout_seconds=30) as server:
        yield server


@pytest.fixture(scope="session")
def inference(inference_server: Server) -> Iterator[httpx.Client]:
    """A client of inference."""
    headers = {"Content-Type": "application/json"}
    with httpx.Client(base_url=inference_server.address, headers=headers, timeout=60) as client:
        yield client
