"""A package is brought from MLflow's HTTP API whole and verified, or not at all."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from support.packages import build_package

from beacon_core.download import RegistryDown, bring, champion
from beacon_core.manifest import MANIFEST_FILE, PackageError
from beacon_core.product import Product
from beacon_core.release import Pin, package_folder

RUN = "0123456789abcdef0123456789abcdef"


class Registry:
    """Answers as MLflow does to the three questions that are asked."""

    def __init__(self, folder: Path, pin: Pin) -> None:
        self.folder, self.pin, self.has_champion = folder, pin, True
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = registry.answer(self.path)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def answer(self, target: str) -> tuple[int, bytes]:
        parts = urlsplit(target)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        facts = {"version": self.pin.version, "run_id": RUN, "tags": [{"key": "sha256", "value": self.pin.sha256}]}
        known = json.dumps({"model_version": facts}).encode()
        if parts.path == "/api/2.0/mlflow/model-versions/get" and query["version"] == self.pin.version:
            return 200, known
        if parts.path == "/api/2.0/mlflow/registered-models/alias" and self.has_champion:
            return 200, known
        if parts.path == "/api/2.0/mlflow/registered-models/alias":
            return 400, b'{"error_code": "INVALID_PARAMETER_VALUE"}'
        file = self.folder / Path(query.get("path", "-")).name
        if parts.path == "/get-artifact" and query["run_uuid"] == RUN and file.is_file():
            return 200, file.read_bytes()
        return 404, b'{"error_code": "RESOURCE_DOES_NOT_EXIST"}'

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def registry(tmp_path: Path, product: Product) -> Iterator[Registry]:
    pin = build_package(tmp_path / "registry", product)
    registry = Registry(package_folder(tmp_path / "registry", pin), pin)
    yield registry
    registry.close()


def test_a_package_comes_whole(registry: Registry, tmp_path: Path) -> None:
    package = bring(registry.address, registry.pin, tmp_path / "models")
    assert package.folder == package_folder(tmp_path / "models", registry.pin)
    assert {file.name: file.read_bytes() for file in package.folder.iterdir()} == {
        file.name: file.read_bytes() for file in registry.folder.iterdir()
    }


@pytest.mark.parametrize("name", [MANIFEST_FILE, "model.onnx"])
def test_other_bytes_are_refused_and_nothing_is_left(name: str, registry: Registry, tmp_path: Path) -> None:
    with (registry.folder / name).open("ab") as stream:
        stream.write(b" ")
    with pytest.raises(PackageError, match=f"^{name}: MLflow at .* holds other bytes than the pinned"):
        bring(registry.address, registry.pin, tmp_path / "models")
    assert [file for file in (tmp_path / "models").rglob("*") if file.is_file()] == []


def test_what_the_registry_lacks_is_named(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="has no boston-housing 9"):
        bring(registry.address, Pin("boston-housing", "9", registry.pin.sha256), tmp_path)
    (registry.folder / "model.onnx").unlink()
    with pytest.raises(PackageError, match=r"has no package/model\.onnx"):
        bring(registry.address, registry.pin, tmp_path)


def test_the_champion_is_pinned_by_its_digest(registry: Registry) -> None:
    assert champion(registry.address, "boston-housing") == registry.pin
    registry.has_champion = False
    assert champion(registry.address, "boston-housing") is None


def test_a_registry_that_is_away_is_no_missing_model(tmp_path: Path) -> None:
    away = "http://127.0.0.1:1"
    with pytest.raises(RegistryDown, match="does not answer"):
        champion(away, "boston-housing")
    with pytest.raises(RegistryDown, match="does not answer"):
        bring(away, Pin("boston-housing", "1", "0" * 64), tmp_path)
