"""Telemetry of every request: metrics and one log line."""

import asyncio
import logging
import math
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
from prometheus_client import CollectorRegistry

from beacon_core.domain.error_codes import STATUS_OF
from beacon_core.observability import metrics
from beacon_core.observability.client_labels import ClientLabels
from beacon_core.observability.trace_context import SAMPLED
from beacon_core.web.http import Handler, Request, Response
from beacon_core.web.loop_metrics import CounterSeries, HistogramSeries, LoopCounter, LoopHistogram

UNMATCHED = "unmatched"
"""The metric label of requests that no hot route takes, until the Flask half has named its own."""
# Created at zero for every route, so that the first error is a step that rate() can see.
USUAL_STATUSES = (200, 400, 404, 405, 408, 413, 415, 422, 500, 503)
# Why what comes may be no request at all.
UNREAD = ("invalid_request", "uri_too_long", "headers_too_large", "request_timeout")
# Requests are counted and logged in groups, so many at once, this often at least and before each scrape: one by one,
# between other work, that costs as much as a prediction; too many at once make the next request wait.
GROUP_REQUESTS = 32
GROUP_SECONDS = 0.05

LEVEL_NAMES = {level: logging.getLevelName(level) for level in (logging.INFO, logging.WARNING, logging.ERROR)}


class AccessLog:
    """One JSON line per request, in the shape of `beacon_core.observability.logs`."""

    def __init__(self, service: str, version: str, level: str) -> None:
        self._fixed = {"logger": "beacon.access", "message": "request", "service": service, "version": version}
        self._least = logging.getLevelNamesMapping()[level]
        self._encode = msgspec.json.Encoder().encode
        self._lines: list[bytes] = []

    def add(self, answered: "RequestTelemetry", method: str) -> None:
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
            "seconds": int(answered.seconds * 1e6) / 1e6,
            "prediction_id": None,
            **request.log_fields(),
        }
        if request.error_code is not None:
            line["code"] = request.error_code
        self._lines.append(self._encode(line))

    def write(self) -> None:
        """Write the lines in one call."""
        lines, self._lines = self._lines, []
        if lines:
            sys.stderr.buffer.write(b"\n".join(lines) + b"\n")
            sys.stderr.buffer.flush()


class RequestTelemetry(NamedTuple):
    """A request that was answered: with what status, after how many seconds, and when (seconds since 1970)."""

    request: Request
    status: int
    seconds: float
    moment: float


class Series(NamedTuple):
    """What the requests of one endpoint, method and status are counted into."""

    requests: CounterSeries
    durations: HistogramSeries
    slow: CounterSeries


class Telemetry:
    """Counts, times and logs answered requests, in groups; label values come from the declared routes only.

    Where the service promises to answer within `promised_seconds`, those that took longer are counted.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        access_log: AccessLog | None,
        *,
        exemplars: bool,
        promised_seconds: float | None = None,
    ) -> None:
        self._requests = LoopCounter(metrics.HTTP_REQUESTS, registry)
        self._durations = LoopHistogram(metrics.HTTP_DURATION, registry)
        self._promised = math.inf if promised_seconds is None else promised_seconds
        self._slow = LoopCounter(metrics.HTTP_SLOW, CollectorRegistry() if promised_seconds is None else registry)
        self._errors = LoopCounter(metrics.API_ERRORS, registry)
        self._clients = LoopCounter(metrics.CLIENT_REQUESTS, registry)
        self._client_labels = ClientLabels()
        self._access_log = access_log
        self._exemplars = exemplars
        self._answered: list[RequestTelemetry] = []
        self._timer: asyncio.TimerHandle | None = None
        # Keyed by plain values: making label texts at every request costs more than the count itself.
        self._series: dict[tuple[str, str, int], Series] = {}
        self.declare(UNMATCHED, "GET", ("not_found", "method_not_allowed", "internal"))
        for code in UNREAD:
            self._series_of(UNMATCHED, "OTHER", STATUS_OF[code])
            self._errors.labels(UNMATCHED, code)

    def declare(self, endpoint: str, method: str, codes: Iterable[str] = STATUS_OF) -> None:
        """Create the series of one route at zero."""
        codes = tuple(codes)
        for status in (200, *sorted({STATUS_OF[code] for code in codes} & set(USUAL_STATUSES))):
            self._series_of(endpoint, method, status)
        for code in codes:
            self._errors.labels(endpoint, code)

    def record(self, handler: Handler) -> Handler:
        """Count, time and log each request once its response is sent."""

        async def handle(request: Request) -> Response:
            response = await handler(request)
            seconds = self.answered(request, response.status)
            if self._exemplars:
                self._add_exemplar(request, seconds)
            return response

        return handle

    def answered(self, request: Request, status: int) -> float:
        """Add one answered request to the next group; returns the seconds it took."""
        seconds = time.perf_counter() - request.started
        request.release()
        self._answered.append(RequestTelemetry(request, status, seconds, time.time()))
        if len(self._answered) >= GROUP_REQUESTS:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GROUP_SECONDS, self._flush_the_rest)
        return seconds

    def _flush_the_rest(self) -> None:
        self._timer = None
        self.flush()

    def flush(self) -> None:
        """Count and log the requests of this group."""
        group, self._answered = self._answered, []
        for answered in group:
            request = answered.request
            method = request.method if request.method in metrics.METHODS else "OTHER"
            series = self._series_of(request.endpoint, method, answered.status)
            series.requests.inc()
            series.durations.observe(answered.seconds)
            if answered.seconds > self._promised:
                series.slow.inc()
            if request.error_code is not None:
                self._errors.labels(request.endpoint, request.error_code).inc()
            if request.client:
                self._clients.labels(self._client_labels.of(request.client), str(answered.status)).inc()
            if request.details is not None:
                request.details.count()
            if self._access_log is not None:
                self._access_log.add(answered, method)
        if self._access_log is not None:
            self._access_log.write()

    def _add_exemplar(self, request: Request, seconds: float) -> None:
        """Let the bucket of the request's duration point to its trace, if that is kept."""
        if request.trace.flags & SAMPLED:
            self._durations.labels(request.endpoint).add_exemplar(seconds, request.trace.trace_id)

    def _series_of(self, endpoint: str, method: str, status: int) -> Series:
        key = (endpoint, method, status)
        series = self._series.get(key)
        if series is None:
            durations, slow = self._durations.labels(endpoint), self._slow.labels(endpoint)
            series = Series(self._requests.labels(*key), durations, slow)
            self._series[key] = series
        return series
