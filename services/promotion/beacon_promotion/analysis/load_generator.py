"""The load generator: the same requests to each instance, in turns, each of them twice.

A request's time is the better of its two tries, so that other work on the machine does not count.
"""

import http.client
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import msgspec

from beacon_core.domain.schema import Schema
from beacon_core.model_package.golden import counts_ages, golden_features, golden_tolerance
from beacon_core.model_package.manifest import Manifest
from beacon_promotion.analysis.measurements import GoldenResults
from beacon_promotion.analysis.sampled_requests import Features, SampledRequest
from beacon_promotion.targets.base.target import Instance

ROUTE = "/v1/predict"
SECONDS = 10.0
THREADS = 2
TRIES = 2
NOT_FINITE = "not finite"


class LoadResponse(msgspec.Struct, frozen=True):
    """One response: `status` 0 if there was none, `value` None if it holds no prediction."""

    seconds: float
    status: int
    value: float | None
    version: str = ""
    body: str = ""

    @property
    def failed(self) -> bool:
        """No response, or one with a 5xx."""
        return self.status == 0 or self.status >= 500

    @property
    def not_finite(self) -> bool:
        """The server says that the model's output was not finite."""
        return self.failed and NOT_FINITE in self.body


class LoadGenerator:
    """Sends requests, over one connection per instance and thread."""

    def __init__(self, api_key: str) -> None:
        self._local = threading.local()
        # Answered through every stage, and not written to the prediction log.
        self._headers = {"Content-Type": "application/json", "Beacon-Synthetic": "true"}
        if api_key:
            self._headers["X-API-Key"] = api_key

    def predict(self, instance: Instance, features: Features) -> LoadResponse:
        """Send one request for a prediction."""
        body = msgspec.json.encode({"features": features})
        began = time.perf_counter()
        status, text = self._post(instance.url, body)
        seconds = time.perf_counter() - began
        found: dict[str, Any] = {}
        if status == 200:
            try:
                found = msgspec.json.decode(text)
            except msgspec.DecodeError:
                status = 0
        model = found.get("model", {})
        return LoadResponse(
            seconds,
            status,
            found.get("prediction"),
            str(model.get("version", "")),
            text[:500].decode("utf-8", "replace"),
        )

    def _post(self, url: str, body: bytes) -> tuple[int, bytes]:
        connections: dict[str, http.client.HTTPConnection] = self._local.__dict__.setdefault("connections", {})
        parts = urlsplit(url)
        for again in (True, False):
            connection = connections.get(url) or http.client.HTTPConnection(
                parts.hostname or "", parts.port, timeout=SECONDS
            )
            fresh = url not in connections
            connections[url] = connection
            try:
                connection.request("POST", ROUTE, body, self._headers)
                response = connection.getresponse()
                return response.status, response.read()
            except (OSError, http.client.HTTPException):
                connection.close()
                del connections[url]
                if fresh or not again:  # a connection that was kept may have been closed in between
                    break
        return 0, b""


def send_all(
    instances: Sequence[Instance],
    requests: Sequence[Sequence[SampledRequest]],
    seconds: float,
    stop: Callable[[], bool],
    api_key: str,
) -> list[list[list[LoadResponse]]]:
    """Send requests `TRIES` times to each instance; responses by request, instance and try.

    An item of `requests` has one request per instance. Ends early after `seconds`.
    """
    generator = LoadGenerator(api_key)
    deadline = time.monotonic() + seconds
    left = threading.Event()

    def one(place: int) -> list[list[LoadResponse]] | None:
        if left.is_set() or time.monotonic() > deadline or stop():
            return None
        found: list[list[LoadResponse]] = [[] for _ in instances]
        order = list(range(len(instances)))
        for turn in range(TRIES):
            for side in order if (place + turn) % 2 else reversed(order):
                found[side].append(generator.predict(instances[side], requests[place][side].features))
        return found

    with ThreadPoolExecutor(THREADS) as pool:
        try:
            return [found for found in pool.map(one, range(len(requests))) if found is not None]
        finally:
            left.set()  # a run that was stopped does not wait for the rest


def send_golden(instances: Sequence[Instance], manifest: Manifest, schema: Schema, api_key: str) -> GoldenResults:
    """Send the model's golden requests to every instance; version and value must be the model's own.

    Those that requests of `schema` cannot hold are left out.
    """
    generator, sent, wrong, first = LoadGenerator(api_key), 0, 0, ""
    allowed = math.inf if counts_ages(manifest.schema) else golden_tolerance(manifest)
    cases = [(case, golden_features(manifest, case)) for case in manifest.golden]
    cases = [(case, features) for case, features in cases if _can_be_sent(features, schema)]
    for instance in instances:
        for case, features in cases:
            response = generator.predict(instance, features)
            sent += 1
            right = response.value is not None and abs(response.value - case.prediction) <= allowed
            if right and response.version == manifest.version:
                continue
            wrong += 1
            found = f"{response.value} of version {response.version}" if response.value is not None else response.body
            first = first or f"{instance.name}: {found or 'no answer'}, not {case.prediction} of {manifest.version}"
    return GoldenResults(sent, wrong, first)


def _can_be_sent(features: Features, schema: Schema) -> bool:
    """Whether requests of the schema can hold the features: a changed product.yaml may have other ones."""
    if not features.keys() <= set(schema.feature_names):
        return False
    return all(feature.problem(features.get(feature.name)) is None for feature in schema.features)
