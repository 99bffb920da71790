"""What tests of reports share: the real servers, each started once, for tests that leave nothing behind but records."""

from collections.abc import Iterator

import httpx
import pytest
from support.features import TOKEN, Process, fill, serve_features
from support.packages import release_package
from support.ports import free_ports
from support.server import Server, serving

from beacon_core.product import Product
from beacon_core.settings import Settings


class FeatureServer:
    """Feature serving on a filled SQLite store, as a client with the write token sees it."""

    def __init__(self, settings: Settings) -> None:
        self.address = f"http://127.0.0.1:{settings.features_port}"
        self._headers = {"Authorization": f"Bearer {TOKEN}"}

    def post(self, path: str, body: object) -> httpx.Response:
        """POST `body` (bytes as they are, anything else as JSON)."""
        content = body if isinstance(body, bytes) else None
        sent = None if isinstance(body, bytes) else body
        return httpx.post(self.address + path, content=content, json=sent, headers=self._headers, timeout=30)


@pytest.fixture(scope="session")
def feature_server(tmp_path_factory: pytest.TempPathFactory, product: Product) -> Iterator[FeatureServer]:
    """`python -m beacon_features`."""
    home = tmp_path_factory.mktemp("features")
    port, metrics_port = free_ports(2)
    settings = Settings(home=home, features_port=port, features_metrics_port=metrics_port, feature_token=TOKEN)
    fill(settings, product)
    server: Process
    with serve_features(settings, home) as server:
        assert server
        yield FeatureServer(settings)


@pytest.fixture(scope="session")
def inference_server(
    tmp_path_factory: pytest.TempPathFactory, product: Product, feature_server: FeatureServer
) -> Iterator[Server]:
    """`python -m beacon_inference`, which looks its features up there and waits for them as long as it must."""
    home = tmp_path_factory.mktemp("inference")
    release_package(home, product)
    with serving(home, features_url=feature_server.address, features_timeout_seconds=30) as server:
        yield server
