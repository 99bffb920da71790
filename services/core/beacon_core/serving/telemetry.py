"""What is told of every request: three metrics and one log line."""

import asyncio
import logging
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
from prometheus_client import CollectorRegistry

from beacon_core import metrics
from beacon_core.errors import STATUS_OF
from beacon_core.serving.http import Request
from beacon_core.serving.tallies import Count, Counters, Distributions
from beacon_core.tracing import SAMPLED

# Created at zero for every route, so that the first error is a step that rate() can see.
USUAL_STATUSES = (200, 400, 404, 405, 408, 413, 415, 422, 500, 503)
# Requests are counted and logged in groups, this often and before each scrape: one by one, between other work, that
# costs as much as a prediction.
GROUP_SECONDS = 0.05

LEVEL_NAMES = {level: logging.getLevelName(level) for level in (logging.INFO, logging.WARNING, logging.ERROR)}


class AccessLog:
    """One JSON line a request, in the shape of `beacon_core.logs`."""

    def __init__(self, service: str, version: str, level: str) -> None:
        self._fixed = {"logger": "beacon.access", "message": "request", "service": service, "version": version}
        self._least = logging.getLevelNamesMapping()[level]
        self._encode = msgspec.json.Encoder().encode
        self._lines: list[bytes] = []

    def add(self, answered: "Answered", method: str) -> None:
        """Keep the line of one request until all are written."""
        request, status = answered.request, answered.status
        level = logging.ERROR if status >= 500 else logging.WARNING if status >= 400 else logging.INFO
        if level < self._least:
            return
        line = {
            "level": LEVEL_NAMES[level],
            **self._fixed,
            "time": datetime.fromtimestamp(answered.moment, UTC),
            "request_id": request.id,
            "trace_id": request.trace.trace_id,
            "endpoint": request.endpoint,
            "method": method,
            "status": status,
            "seconds": round(answered.seconds, 6),
            "prediction_id": None,
        }
        if request.error_code is not None:
            line["code"] = request.error_code
        line.update(request.notes)
        self._lines.append(self._encode(line))

    def write(self) -> None:
        """Write the lines in one call."""
        lines, self._lines = self._lines, []
        if lines:
            sys.stderr.buffer.write(b"\n".join(lines) + b"\n")
            sys.stderr.buffer.flush()


class Answered(NamedTuple):
    """A request that was answered: with what status, after how many seconds, and when (seconds since 1970)."""

    request: Request
    status: int
    seconds: float
    moment: float


class Telemetry:
    """Counts, times and logs answered requests, in groups; label values come from the declared routes only."""

    def __init__(self, registry: CollectorRegistry, access_log: AccessLog | None) -> None:
        self._requests = Counters(metrics.HTTP_REQUESTS, registry)
        self._durations = Distributions(metrics.HTTP_DURATION, registry)
        self._errors = Counters(metrics.API_ERRORS, registry)
        self._access_log = access_log
        self._answered: list[Answered] = []
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
        """Tell of one answered request, with the next group; returns the seconds it took."""
        seconds = time.perf_counter() - request.started
        request.body, request.parsed = b"", None  # they may be large
        self._answered.append(Answered(request, status, seconds, time.time()))
        if len(self._answered) == 1:
            asyncio.get_running_loop().call_later(GROUP_SECONDS, self.flush)
        return seconds

    def flush(self) -> None:
        """Count and log the requests of this group."""
        group, self._answered = self._answered, []
        for answered in group:
            request = answered.request
            method = request.method if request.method in metrics.METHODS else "OTHER"
            self._count(request.endpoint, method, answered.status).inc()
            self._durations.labels(request.endpoint).observe(answered.seconds)
            if request.error_code is not None:
                self._errors.labels(request.endpoint, request.error_code).inc()
            if request.count is not None:
                request.count()
            if self._access_log is not None:
                self._access_log.add(answered, method)
        if self._access_log is not None:
            self._access_log.write()

    def exemplify(self, request: Request, seconds: float) -> None:
        """Let the bucket of the request's duration point to its trace, if that is kept."""
        if request.trace.flags & SAMPLED:
            self._durations.labels(request.endpoint).exemplify(seconds, request.trace.trace_id)

    def _count(self, endpoint: str, method: str, status: int) -> Count:
        key = (endpoint, method, status)
        count = self._counts.get(key)
        if count is None:
            count = self._counts[key] = self._requests.labels(endpoint, method, status)
        return count
