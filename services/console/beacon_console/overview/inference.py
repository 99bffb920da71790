"""The status of inference, read from its metrics; the page is shown without it, too."""

import http.client
from typing import NamedTuple
from urllib.parse import urlsplit

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample


class InferenceStatus(NamedTuple):
    """The running process, counted since it started."""

    version: str | None
    shadow: str | None
    requests: int
    failures: int
    """Requests answered with a status of 500 or above."""
    dropped: int
    """Predictions that were answered and never logged."""


def fetch_status(address: str, timeout_seconds: float) -> InferenceStatus | None:
    """GET the metrics of inference at `address`; None when it does not answer in time, or not with metrics."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_seconds)
    try:
        connection.request("GET", "/metrics", headers={"Accept": "text/plain"})
        response = connection.getresponse()
        if response.status != http.client.OK:
            return None
        return parse(response.read().decode())
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()


def parse(text: str) -> InferenceStatus:
    """Read a text in Prometheus' exposition format; raises ValueError for another text."""
    families = {family.name: family for family in text_string_to_metric_families(text)}
    models = {
        sample.labels["role"]: sample.labels["model_version"] for sample in _samples(families, "beacon_model_info")
    }
    statuses = [
        (int(sample.labels["status"]), int(sample.value))
        for sample in _samples(families, "http_requests")
        if sample.name.endswith("_total") and sample.labels["method"] == "POST"
    ]
    return InferenceStatus(
        version=models.get("champion"),
        shadow=models.get("shadow"),
        requests=sum(count for _, count in statuses),
        failures=sum(count for status, count in statuses if status >= 500),
        dropped=_total(families, "beacon_prediction_log_dropped"),
    )


def _samples(families: dict[str, Metric], name: str) -> list[Sample]:
    family = families.get(name)
    return [] if family is None else family.samples


def _total(families: dict[str, Metric], name: str) -> int:
    return int(sum(sample.value for sample in _samples(families, name) if not sample.name.endswith("_created")))
