"""Fetch by Kaggle's own client against a stand-in server on loopback, in a process of its own.

The client is pointed at http://localhost (KAGGLE_API_ENVIRONMENT) through the stand-in as its proxy, so that no fixed
port is needed.
"""

import io
import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from beacon_core.product import Product
from beacon_core.settings import ROOT

FETCH = """
import sys
from beacon_core.product import load_product
from beacon_core.settings import load_settings
from beacon_retrain.fetch import FetchError, fetch
from beacon_retrain.validate import DataError, validate
settings = load_settings()
product = load_product(settings.product)
try:
    print(fetch(settings, product, lambda file: validate(file, product)))
except (FetchError, DataError) as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


class StandIn(ThreadingHTTPServer):
    """Answers a download with `status` and `body`, and remembers what it was asked."""

    status = 200
    body = b""
    asked: str = ""
    authorization: str | None = None


class Handler(BaseHTTPRequestHandler):
    server: StandIn

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked = f"{self.path} {asked['ownerSlug']}/{asked['datasetSlug']}"
        self.server.authorization = self.headers["Authorization"]
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/zip")
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *arguments: object) -> None:
        """Quiet."""


@pytest.fixture
def kaggle() -> Iterator[StandIn]:
    server = StandIn(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def zipped(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def run_fetch(kaggle: StandIn, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(sys.path),
        "HOME": str(home),
        "BEACON_HOME": str(home),
        "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
        "KAGGLE_USERNAME": "someone",
        "KAGGLE_KEY": "very-secret",
        "http_proxy": f"http://127.0.0.1:{kaggle.server_address[1]}",
    }
    command = [sys.executable, "-c", FETCH]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False, cwd=ROOT)


def test_credentials_bring_kaggles_file(kaggle: StandIn, product: Product, tmp_path: Path) -> None:
    content = product.sample_path.read_bytes()
    kaggle.body = zipped("HousingData.csv", content)
    run = run_fetch(kaggle, tmp_path)
    assert run.returncode == 0, run.stderr
    assert "source='kaggle:altavish/boston-housing-dataset'" in run.stdout
    assert "Kaggle credentials from KAGGLE_USERNAME and KAGGLE_KEY" in run.stdout
    assert kaggle.asked.endswith("DatasetApiService/DownloadDataset altavish/boston-housing-dataset")
    assert kaggle.authorization is not None
    assert (tmp_path / "data/raw/HousingData.csv").read_bytes() == content


def cases() -> list[tuple[int, bytes, str]]:
    sample = (ROOT / "feature_repo/sample/HousingData.csv").read_bytes()
    whole = zipped("HousingData.csv", sample)
    return [
        (403, b"no", "FetchError: kaggle:altavish/boston-housing-dataset: HTTPError: 403"),
        (200, whole[: len(whole) // 2], "FetchError: boston-housing-dataset.zip: is not a whole zip file"),
        (200, zipped("other.csv", sample), "holds no HousingData.csv, but other.csv"),
        (
            200,
            zipped("HousingData.csv", sample.replace(b"RM,", b"ROOMS,")),
            "DataError: HousingData.csv: RM: is missing",
        ),
    ]


@pytest.mark.parametrize(("status", "body", "said"), cases(), ids=["refused", "cut", "another file", "renamed column"])
def test_a_failure_keeps_the_last_good_file_and_never_falls_back_to_the_sample(
    status: int, body: bytes, said: str, kaggle: StandIn, tmp_path: Path
) -> None:
    good = tmp_path / "data/raw/HousingData.csv"
    good.parent.mkdir(parents=True)
    good.write_text("the last good data")
    kaggle.status, kaggle.body = status, body
    run = run_fetch(kaggle, tmp_path)
    assert run.returncode == 1
    assert said in run.stderr
    assert "very-secret" not in run.stdout + run.stderr
    assert list(good.parent.iterdir()) == [good]
    assert good.read_text() == "the last good data"
