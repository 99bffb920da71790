"""The prober: `python -m beacon_prober.prober service=URL` sends a golden request at each scrape of /probe?target=.

It answers as blackbox_exporter does, with the metrics of one probe; the scrape interval sets the rate. It sends a
golden request of the package in service, which it downloads from the registry by the digest in the response. The probe
succeeds when the response matches the package's golden answer. Before the package is downloaded, any valid response
succeeds, and beacon_probe_compared is 0.
"""

import argparse
import json
import logging
import math
import sys
import time
import urllib.request
from concurrent.futures import Future, ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from prometheus_client import CollectorRegistry, generate_latest

from beacon_core.domain.masking import message_of
from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product
from beacon_core.model_package.download import download_package
from beacon_core.model_package.golden import Answer, find_mismatch, golden_features, post_features
from beacon_core.model_package.manifest import Manifest, PackageError
from beacon_core.model_package.signature import trust_of
from beacon_core.observability import metrics
from beacon_core.observability.logs import configure_logging
from beacon_core.platform.job import run_command
from beacon_core.platform.mlflow import RegistryUnavailableError
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import Settings
from beacon_core.platform.signing_keys import SigningKeyError

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 5.0
ROUTE = "/v1/predict"
# During a rollout two versions answer in turn: a golden request may need a second try to reach its version.
TRIES = 3


class ProbeResult(NamedTuple):
    """One probe: why it failed (empty for success), and whether its response was compared with a golden answer."""

    problem: str
    compared: bool = False


class ManifestCache:
    """Manifests by digest; a new one is downloaded in the background, so that no probe waits for the registry."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: dict[str, Manifest] = {}
        self._worker = ThreadPoolExecutor(1)
        self._download: Future[None] | None = None
        self.newest: Manifest | None = None

    def find(self, pin: Pin) -> Manifest | None:
        """The package's manifest, or None until it is downloaded."""
        manifest = self._known.get(pin.sha256)
        if manifest is not None:
            self.newest = manifest
        elif self._download is None or self._download.done():
            self._download = self._worker.submit(self._fetch, pin)
        return manifest

    def _fetch(self, pin: Pin) -> None:
        try:
            trust = trust_of(self._settings)
            manifest = download_package(self._settings.mlflow_address, pin, self._settings.models_dir, trust).manifest
        except (RegistryUnavailableError, PackageError, SigningKeyError, OSError) as error:
            log.warning("no golden requests of version %s: %s", pin.version, message_of(error))
            return
        if manifest.golden:
            self._known[pin.sha256] = self.newest = manifest


class Prober:
    """Probes the named targets (name -> URL of a prediction route)."""

    def __init__(self, settings: Settings, product: Product, targets: dict[str, str]) -> None:
        self._headers = {"Beacon-Synthetic": "true", "X-API-Key": settings.api_key}
        self._example = {feature.name: feature.example for feature in product.features}
        self._manifests = ManifestCache(settings)
        self.targets = targets

    def probe(self, target: str) -> bytes:
        """The metrics of one probe, as text."""
        start = time.perf_counter()
        try:
            result = self._send(self.targets[target])
        except OSError as error:
            result = ProbeResult(f"no answer: {message_of(error)}")
        if result.problem:
            log.error("%s: %s", target, result.problem)
        registry = CollectorRegistry()
        metrics.gauge(metrics.PROBE_SUCCESS, registry).set(not result.problem)
        metrics.gauge(metrics.PROBE_SECONDS, registry).set(time.perf_counter() - start)
        metrics.gauge(metrics.PROBE_COMPARED, registry).set(result.compared)
        return generate_latest(registry)

    def _send(self, url: str) -> ProbeResult:
        for _ in range(TRIES):
            manifest = self._manifests.newest
            golden = None if manifest is None else manifest.golden[0]
            features = self._example if manifest is None or golden is None else golden_features(manifest, golden)
            answer = post_features(url, features, TIMEOUT_SECONDS / TRIES, self._headers)
            pin = _pin(answer)
            if pin is None:
                if manifest is None:  # the example is of product.yaml, which may be ahead of the model in service
                    self._find_in_service(url)
                return ProbeResult(f"no valid response: {answer}")
            found = self._manifests.find(pin)
            if found is None:
                return ProbeResult("")
            if found is manifest and golden is not None:
                return ProbeResult(find_mismatch(answer, manifest, golden), compared=True)
        return ProbeResult("")

    def _find_in_service(self, url: str) -> None:
        """Download the package that /readyz names: its golden requests are valid, whatever product.yaml says now."""
        ready = url.removesuffix(ROUTE) + "/readyz"
        try:
            with urllib.request.urlopen(ready, timeout=TIMEOUT_SECONDS / TRIES) as response:  # noqa: S310 - the operator's address
                pin = _pin(json.load(response) | {"prediction": 0})
        except (OSError, ValueError, TypeError):
            return
        if pin is not None:
            self._manifests.find(pin)


def _pin(answer: Answer) -> Pin | None:
    """The model that a valid response names; None when the response is not valid."""
    value, model = answer.get("prediction"), answer.get("model")
    if not isinstance(value, float | int) or not math.isfinite(value) or not isinstance(model, dict):
        return None
    pin = Pin(*[str(model.get(key)) for key in ("name", "version", "sha256")])
    return pin if pin.has_valid_names else None


def serve(prober: Prober, host: str, port: int) -> ThreadingHTTPServer:
    """The server, not yet started."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            target = parse_qs(url.query).get("target", [""])[0]
            if url.path == "/livez":
                self._send(200, b"live\n")
            elif url.path == "/probe" and target in prober.targets:
                self._send(200, prober.probe(target))
            else:
                self._send(404, f"use /probe?target=TARGET with one of {', '.join(prober.targets)}\n".encode())

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            log.debug(format, *args)

    return ThreadingHTTPServer((host, port), Handler)


def main(settings: Settings) -> int:
    """Serve until the process is terminated."""
    parser = argparse.ArgumentParser(description="probe the prediction route, as blackbox_exporter would")
    parser.add_argument("targets", nargs="+", metavar="NAME=URL", help="a prediction route and its name")
    parser.add_argument("--port", type=int, default=9115)
    options = parser.parse_args()
    targets = dict(text.split("=", 1) for text in options.targets)
    prober = Prober(settings, load_product(settings.product), targets)
    configure_logging("prober", settings.build_version, settings.log_level)
    serve(prober, settings.host, options.port).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(run_command("prober", main))
