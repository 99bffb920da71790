"""Materialization on request: one at a time in this process, before the response or in the background."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec
from flask import Response

from beacon_core.domain.times import EARLIEST
from beacon_core.feature_store.materialization import materialize_between, materialize_new
from beacon_core.platform import clock
from beacon_feature_serving.errors import feast_error
from beacon_feature_serving.writing.bodies import read_flag, read_materialize_body, read_moment
from beacon_feature_serving.writing.writer import Writer, acquire

log = logging.getLogger(__name__)


class Materializer:
    """Runs materializations one at a time; a request for a second one gets 409."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._materializing = threading.Lock()
        self._background = ThreadPoolExecutor(1, thread_name_prefix="materialize")

    def close(self) -> None:
        """Wait for a materialization that runs in the background."""
        self._background.shutdown()

    def materialize(self) -> Response:
        """Copy the newest rows of an interval into the online store."""
        body = read_materialize_body()
        views = self._writer.view_names(body.feature_views)
        now = clock.now()
        if body.disable_event_timestamp:
            start, end = EARLIEST, now
        else:
            start, end = read_moment(body.start_ts, "start_ts", now), read_moment(body.end_ts, "end_ts", now)
            if start >= end:
                raise feast_error("invalid_body", f"start_ts ({start}) must be before end_ts ({end})", "start_ts")
        return self._run(views, lambda: materialize_between(self._writer.store, views, start, end))

    def materialize_incremental(self) -> Response:
        """Copy what has arrived since the last materialization online, rows with old event times, too."""
        body = read_materialize_body()
        views = self._writer.view_names(body.feature_views)
        end = read_moment(body.end_ts, "end_ts", clock.now())

        def work() -> None:
            for view in views:
                materialize_new(self._writer.store, view, end)

        return self._run(views, work)

    def _run(self, views: list[str], work: Callable[[], None]) -> Response:
        """Do the work now, or after the response with `?async=true`; 409 while another one is at work."""
        later = read_flag("async")
        self._writer.check()
        if not acquire(self._materializing, wait=not later):
            refusal = {"error": "a materialization is running; wait for it", "feature_views": views}
            return _json(409, refusal)
        if later:
            self._background.submit(self._in_background, work)
            return _json(202, {"status": "accepted", "feature_views": views})
        try:
            self._exclusively(work)
        finally:
            self._materializing.release()
        return _json(200, None)

    def _in_background(self, work: Callable[[], None]) -> None:
        try:
            self._exclusively(work)
        except Exception:
            log.exception("materialization failed")
        finally:
            self._materializing.release()

    def _exclusively(self, work: Callable[[], None]) -> None:
        with self._writer.exclusive():
            work()


def _json(status: int, body: object) -> Response:
    return Response(msgspec.json.encode(body), status, content_type="application/json")
