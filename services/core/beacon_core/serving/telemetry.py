"""What is told of every request: three metrics and one log line."""

import asyncio
import logging
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec
from prometheus_client import CollectorRegistry

from beacon_core import metrics
from beacon_core.errors import STATUS_OF
from beacon_core.serving.http import Request
from beacon_core.serving.tallies import Count, Counters, Distributions
from beacon_core.tracing import SAMPLED

# Created at zero for every route, so that the first error is a step that rate() can see.
USUAL_STATUSES = (200, 400, 404, 405, 408, 413, 415, 422, 500, 503)
# Access lines are gathered this long and written in one call: a line of its own costs as much as a prediction.
FLUSH_SECONDS = 0.05


LEVEL_NAMES = {level: logging.getLevelName(level) for level in (logging.INFO, logging.WARNING, logging.ERROR)}


class AccessLog:
    """One JSON line a request, in the shape of `beacon_core.logs`."""

    def __init__(self, service: str, version: str, level: str) -> None:
        self._fixed = {"logger": "beacon.access", "message": "request", "service": service, "version": version}
        self._least = logging.getLevelNamesMapping()[level]
        self._encode = msgspec.json.Encoder().encode
        self._lines: list[bytes] = []

    def write(self, request: Request, method: str, status: int, seconds: float) -> None:
        """Keep the line of one answered request until the next flush."""
        level = logging.ERROR if status >= 500 else logging.WARNING if status >= 400 else logging.INFO
        if level < self._least:
            return
        line = {
            "level": LEVEL_NAMES[level],
            **self._fixed,
            "time": datetime.now(UTC),
            "request_id": request.id,
            "trace_id": request.trace.trace_id,
            "endpoint": request.endpoint,
            "method": method,
            "status": status,
            "seconds": round(seconds, 6),
            "prediction_id": None,
        }
        if request.error_code is not None:
            line["code"] = request.error_code
        line.update(request.notes)
        self._lines.append(self._encode(line))
        if len(self._lines) == 1:
            asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what was gathered."""
        lines, self._lines = self._lines, []
        if lines:
            sys.stderr.buffer.write(b"\n".join(lines) + b"\n")
            sys.stderr.buffer.flush()


class Telemetry:
    """Counts, times and logs answered requests; label values come from the declared routes only."""

    def __init__(self, registry: CollectorRegistry, access_log: AccessLog | None) -> None:
        self._requests = Counters(metrics.HTTP_REQUESTS, registry)
        self._durations = Distributions(metrics.HTTP_DURATION, registry)
        self._errors = Counters(metrics.API_ERRORS, registry)
        self._access_log = access_log
        # Keyed by plain values: making label texts at every request costs more than the count itself.
        self._counts: dict[tuple[str, str, int], Count] = {}
        self.declare("unmatched", "GET", ("not_found", "method_not_allowed", "internal"))

    def declare(self, endpoint: str, method: str, codes: Iterable[str] = STATUS_OF) -> None:
        """Create the series of one route at zero."""
        codes = tuple(codes)
        for status in (200, *sorted({STATUS_OF[code] for code in codes} & set(USUAL_STATUSES))):
            self._count(endpoint, method, status)
        self._durations.labels(endpoint)
        for code in codes:
            self._errors.labels(endpoint, code)

    def answered(self, request: Request, status: int) -> float:
        """Tell of one answered request; returns the seconds it took."""
        seconds = time.perf_counter() - request.started
        method = request.method if request.method in metrics.METHODS else "OTHER"
        self._count(request.endpoint, method, status).inc()
        self._durations.labels(request.endpoint).observe(seconds)
        if request.error_code is not None:
            self._errors.labels(request.endpoint, request.error_code).inc()
        if self._access_log is not None:
            self._access_log.write(request, method, status, seconds)
        return seconds

    def exemplify(self, request: Request, seconds: float) -> None:
        """Let the bucket of the request's duration point to its trace, if that is kept."""
        if request.trace.flags & SAMPLED:
            self._durations.labels(request.endpoint).exemplify(seconds, request.trace.trace_id)

    def close(self) -> None:
        """Write the last access lines."""
        if self._access_log is not None:
            self._access_log.flush()

    def _count(self, endpoint: str, method: str, status: int) -> Count:
        key = (endpoint, method, status)
        count = self._counts.get(key)
        if count is None:
            count = self._counts[key] = self._requests.labels(endpoint, method, status)
        return count
