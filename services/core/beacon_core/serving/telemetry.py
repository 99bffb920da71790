"""What is told of every request: three metrics, one log line, one trace."""

import logging
import time
from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import Counter, Histogram

from beacon_core import metrics
from beacon_core.errors import STATUS_OF
from beacon_core.serving.http import Request

log = logging.getLogger("beacon.access")

# Created at zero for every route, so that the first error is a step that rate() can see.
USUAL_STATUSES = (200, 400, 404, 405, 413, 415, 422, 500, 503)


class Telemetry:
    """Counts, times and logs answered requests; label values come from the declared routes only."""

    def __init__(self, registry: CollectorRegistry, *, access_log: bool) -> None:
        self._requests = metrics.counter(metrics.HTTP_REQUESTS, registry)
        self._durations = metrics.histogram(metrics.HTTP_DURATION, registry)
        self._errors = metrics.counter(metrics.API_ERRORS, registry)
        self._access_log = access_log
        # Resolved children: `labels()` costs more than the count itself.
        self._request_children: dict[tuple[str, str, int], Counter] = {}
        self._duration_children: dict[str, Histogram] = {}
        self.declare("unmatched", "GET", ("not_found", "method_not_allowed", "internal"))

    def declare(self, endpoint: str, method: str, codes: Iterable[str] = STATUS_OF) -> None:
        """Create the series of one route at zero."""
        codes = tuple(codes)
        for status in (200, *sorted({STATUS_OF[code] for code in codes} & set(USUAL_STATUSES))):
            self._request_child(endpoint, method, status)
        self._duration_child(endpoint)
        for code in codes:
            self._errors.labels(endpoint, code)

    def answered(self, request: Request, status: int) -> None:
        """Tell of one answered request."""
        seconds = time.perf_counter() - request.started
        method = request.method if request.method in metrics.METHODS else "OTHER"
        self._request_child(request.endpoint, method, status).inc()
        self._duration_child(request.endpoint).observe(seconds)
        if request.error_code is not None:
            self._errors.labels(request.endpoint, request.error_code).inc()
        if self._access_log:
            level = logging.ERROR if status >= 500 else logging.WARNING if status >= 400 else logging.INFO
            if log.isEnabledFor(level):
                log.log(level, "request", extra=self._line(request, method, status, seconds))

    def _line(self, request: Request, method: str, status: int, seconds: float) -> dict[str, object]:
        line: dict[str, object] = {
            "request_id": request.id,
            "trace_id": request.trace.trace_id,
            "endpoint": request.endpoint,
            "method": method,
            "status": status,
            "seconds": round(seconds, 6),
        }
        if request.error_code is not None:
            line["code"] = request.error_code
        return line | request.notes

    def _request_child(self, endpoint: str, method: str, status: int) -> Counter:
        key = (endpoint, method, status)
        child = self._request_children.get(key)
        if child is None:
            child = self._request_children[key] = self._requests.labels(endpoint, method, status)
        return child

    def _duration_child(self, endpoint: str) -> Histogram:
        child = self._duration_children.get(endpoint)
        if child is None:
            child = self._duration_children[endpoint] = self._durations.labels(endpoint)
        return child
