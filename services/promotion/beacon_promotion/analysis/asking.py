"""Asking instances: the same requests to each of them, taking turns, every one twice.

A request's time is the better of its two tries: what the machine does beside it is not the model's.
"""

import http.client
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import msgspec

from beacon_core.model_package.manifest import Manifest
from beacon_promotion.analysis.measurements import Golden
from beacon_promotion.analysis.rows import Row
from beacon_promotion.targets.base.target import Instance

ROUTE = "/v1/predict"
SECONDS = 10.0
ASKERS = 2
TRIES = 2
ROUNDING = 1e-5
"""What an answer loses on its way: five decimals are sent."""
NOT_FINITE = "not finite"


class Answer(msgspec.Struct, frozen=True):
    """What came back: `status` 0 for nothing at all; `value` None where there is no prediction."""

    seconds: float
    status: int
    value: float | None
    version: str = ""
    body: str = ""

    @property
    def failed(self) -> bool:
        """No answer, or one that is the server's fault."""
        return self.status == 0 or self.status >= 500

    @property
    def not_finite(self) -> bool:
        """The server says that the model gave no finite number."""
        return self.failed and NOT_FINITE in self.body


class Asker:
    """Keeps a connection to each instance, for each thread."""

    def __init__(self, api_key: str) -> None:
        self._local = threading.local()
        # Answered through every stage, and not written to the prediction log.
        self._headers = {"Content-Type": "application/json", "Beacon-Synthetic": "true"}
        if api_key:
            self._headers["X-API-Key"] = api_key

    def predict(self, instance: Instance, features: dict[str, float]) -> Answer:
        """Ask for one prediction."""
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
        return Answer(
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


def ask_all(
    instances: Sequence[Instance], rows: Sequence[Row], seconds: float, stop: Callable[[], bool], api_key: str
) -> list[list[list[Answer]]]:
    """Ask every row of every instance `TRIES` times; answers by row, instance and try. Ends early after `seconds`."""
    asker = Asker(api_key)
    deadline = time.monotonic() + seconds
    left = threading.Event()

    def one(place: int) -> list[list[Answer]] | None:
        if left.is_set() or time.monotonic() > deadline or stop():
            return None
        found: list[list[Answer]] = [[] for _ in instances]
        order = list(range(len(instances)))
        for turn in range(TRIES):
            for side in order if (place + turn) % 2 else reversed(order):
                found[side].append(asker.predict(instances[side], rows[place].features))
        return found

    with ThreadPoolExecutor(ASKERS) as pool:
        try:
            return [found for found in pool.map(one, range(len(rows))) if found is not None]
        finally:
            left.set()  # a run that is told to end does not wait for the rest


def ask_golden(instances: Sequence[Instance], manifest: Manifest, api_key: str) -> Golden:
    """Ask every instance the model's golden requests; version and value must be the model's own."""
    asker, asked, wrong, first = Asker(api_key), 0, 0, ""
    names = [feature.name for feature in manifest.features]
    allowed = manifest.golden_tolerance + ROUNDING
    for instance in instances:
        for case in manifest.golden:
            answer = asker.predict(instance, dict(zip(names, case.row, strict=True)))
            asked += 1
            right = answer.value is not None and abs(answer.value - case.prediction) <= allowed
            if right and answer.version == manifest.version:
                continue
            wrong += 1
            told = f"{answer.value} of version {answer.version}" if answer.value is not None else answer.body
            first = first or f"{instance.name}: {told or 'no answer'}, not {case.prediction} of {manifest.version}"
    return Golden(asked, wrong, first)
