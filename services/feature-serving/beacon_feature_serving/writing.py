"""The routes that write: push, write-to-online-store, materialize. Token first, then body, then Feast's SDK."""

import asyncio
import contextlib
import hmac
import logging
import sqlite3
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
import pandas as pd
from feast import FeatureStore, FeatureView
from feast.data_source import PushMode
from feast.errors import FeastError, FeatureViewNotFoundException, PushSourceNotFoundException
from flask import Flask, Response, request
from google.protobuf.message import DecodeError
from redis.exceptions import RedisError

from beacon_core.domain.errors import BeaconError
from beacon_core.domain.integers import whole_or_float
from beacon_core.domain.masking import message_of
from beacon_core.domain.times import EARLIEST, error_code, read_past_time
from beacon_core.feature_store.errors import FeatureStoreError
from beacon_core.feature_store.materialization import materialize_between, materialize_new
from beacon_core.platform import clock
from beacon_core.platform.settings import Settings
from beacon_core.web.flask_app import current_request
from beacon_core.web.http import JSON, require_content_type
from beacon_feature_serving.frames import to_frame
from beacon_feature_serving.newest import newer_than, newest_each
from beacon_feature_serving.reading import decode_body
from beacon_feature_serving.refusal import invalid, refused, refused_by_feast
from beacon_feature_serving.registry import Registry
from beacon_feature_serving.stores.reader import Reader

log = logging.getLogger(__name__)

# A write waits this long for another one; a materialization may take minutes.
WAIT_SECONDS = 5.0
# The reader's own patience ends much earlier.
READ_SECONDS = 5.0
FLAGS = {"": False, "0": False, "false": False, "1": True, "true": True}
MODES = {mode.name.lower(): mode for mode in PushMode}
BodyT = TypeVar("BodyT")
ReadT = TypeVar("ReadT")
_decode = msgspec.json.Decoder(float_hook=whole_or_float).decode


class Push(msgspec.Struct, forbid_unknown_fields=True):
    """Body of /push. `transform_on_write` makes no difference: views that transform are not served."""

    push_source_name: str
    df: dict[str, Any]
    to: str = "online"
    allow_registry_cache: bool = True
    transform_on_write: bool = True


class Write(msgspec.Struct, forbid_unknown_fields=True):
    """Body of /write-to-online-store."""

    feature_view_name: str
    df: dict[str, Any]
    allow_registry_cache: bool = True
    transform_on_write: bool = True


class Materialize(msgspec.Struct, forbid_unknown_fields=True):
    """Body of /materialize, and of /materialize-incremental, which has no start."""

    start_ts: str | None = None
    end_ts: str | None = None
    feature_views: list[str] | None = None
    disable_event_timestamp: bool = False
    full_feature_names: bool = False
    version: str | None = None


class Writer:
    """Writes through Feast's SDK, one write at a time: Feast's stores share their connections between threads."""

    def __init__(self, settings: Settings, store: FeatureStore, registry: Registry, reader: Reader) -> None:
        server = store.config.feature_server
        if server is not None and server.offline_push_batching_enabled:
            raise FeatureStoreError(
                "feature_store.yaml: feature_server.offline_push_batching_enabled: a push is on disk when it is "
                "answered, batching in memory is not supported"
            )
        self._token = settings.feature_token
        self._most_rows = settings.max_batch_rows
        self._store = store
        self._registry = registry
        self._reader = reader
        self._loop: asyncio.AbstractEventLoop | None = None
        self._writing = threading.Lock()
        self._materializing = threading.Lock()
        self._background = ThreadPoolExecutor(1, thread_name_prefix="materialize")

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take the event loop that the reader lives on."""
        self._loop = loop

    def close(self) -> None:
        """Wait for a materialization that runs in the background."""
        self._background.shutdown()

    def require_token(self) -> None:
        """BeaconError `not_found` where writes are off, `unauthorized` without the right bearer token."""
        if not self._token:
            raise BeaconError("not_found", "writes are switched off; BEACON_FEATURE_TOKEN switches them on")
        given = request.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
            raise BeaconError("unauthorized", "send the write token as `Authorization: Bearer TOKEN`", "Authorization")

    def push(self) -> Response:
        """Write rows to the online store, the offline store or both, for every view that the source feeds."""
        body = _body(Push)
        if body.to not in MODES:
            raise refused("invalid_body", f"to: {body.to} is none of {', '.join(MODES)}", "to")
        with self._exclusive():
            views = [
                view
                for view in self._store.list_feature_views(allow_cache=body.allow_registry_cache)
                if view.stream_source is not None and view.stream_source.name == body.push_source_name
            ]
            if not views:
                message = str(PushSourceNotFoundException(body.push_source_name))
                raise refused("not_found", message, "push_source_name", kind=PushSourceNotFoundException.__name__)
            frame = to_frame(views[0], body.df, clock.now(), self._most_rows)
            to = MODES[body.to]
            # An online store that does not answer is found out by this read, before anything is written.
            fresh = frame if to is PushMode.OFFLINE else self._fresh(views[0], frame)
            # Offline first: what serving has shown, training must be able to see. A retry repeats no row.
            for mode, rows in ((PushMode.OFFLINE, frame), (PushMode.ONLINE, fresh)):
                if to in {mode, PushMode.ONLINE_AND_OFFLINE} and len(rows):
                    self._store.push(body.push_source_name, rows, body.allow_registry_cache, mode)
        return Response(status=200)

    def write_online(self) -> Response:
        """Write rows of one view to the online store."""
        body = _body(Write)
        with self._exclusive():
            view = self._view(body.feature_view_name, cached=body.allow_registry_cache)
            frame = to_frame(view, body.df, clock.now(), self._most_rows)
            rows = self._fresh(view, frame)
            if len(rows):
                self._store.write_to_online_store(view.name, rows, allow_registry_cache=body.allow_registry_cache)
        return _null()

    def materialize(self) -> Response:
        """Bring the newest rows of an interval online."""
        body = _materialize_body()
        views = self._views(body.feature_views)
        now = clock.now()
        if body.disable_event_timestamp:
            start, end = EARLIEST, now
        else:
            start, end = _time(body.start_ts, "start_ts", now), _time(body.end_ts, "end_ts", now)
            if start >= end:
                raise refused("invalid_body", f"start_ts ({start}) must be before end_ts ({end})", "start_ts")
        return self._run(views, lambda: materialize_between(self._store, views, start, end))

    def materialize_incremental(self) -> Response:
        """Bring online what has arrived since the last materialization, rows with old event times, too."""
        body = _materialize_body()
        views = self._views(body.feature_views)
        end = _time(body.end_ts, "end_ts", clock.now())

        def work() -> None:
            for view in views:
                materialize_new(self._store, view, end)

        return self._run(views, work)

    def _run(self, views: list[str], work: Callable[[], None]) -> Response:
        """Do the work now, or after the answer with `?async=true`; 409 while another one is at it in this process."""
        later = _flag("async")
        self._on_loop(self._reader.check())
        if not self._materializing.acquire(timeout=0 if later else WAIT_SECONDS):
            told = {"error": "a materialization is running; wait for it", "feature_views": views}
            return Response(msgspec.json.encode(told), 409, content_type="application/json")
        if not later:
            try:
                self._quietly(work)
            finally:
                self._materializing.release()
            return _null()

        def in_background() -> None:
            try:
                self._quietly(work)
            except Exception:
                log.exception("materialization failed")
            finally:
                self._materializing.release()

        self._background.submit(in_background)
        accepted = {"status": "accepted", "feature_views": views}
        return Response(msgspec.json.encode(accepted), 202, content_type="application/json")

    def _quietly(self, work: Callable[[], None]) -> None:
        with self._exclusive():
            work()

    def _fresh(self, view: FeatureView, frame: pd.DataFrame) -> pd.DataFrame:
        """The newest row of each entity, unless the online store has a newer one; its reader says when it is down."""
        self._registry.refresh()
        (read,) = self._registry.catalog.plan(None, (f"{view.name}:{view.features[0].name}",), full_names=False).reads
        newest = newest_each(view, frame)
        keys = read.encode([newest[name].tolist() for name in read.keys], read.keys)
        return newer_than(view, newest, self._on_loop(self._reader.read(read, keys)))

    def _on_loop(self, reading: Coroutine[Any, Any, ReadT]) -> ReadT:
        if self._loop is None:
            reading.close()
            raise BeaconError("feature_store_unavailable", "the service has not started")
        return asyncio.run_coroutine_threadsafe(reading, self._loop).result(READ_SECONDS)

    def _views(self, names: list[str] | None) -> list[str]:
        with _outages_told():
            if names is None:
                return [view.name for view in self._store.list_feature_views(allow_cache=False)]
            return [self._view(name, cached=False).name for name in names]

    def _view(self, name: str, *, cached: bool) -> FeatureView:
        for view in self._store.list_feature_views(allow_cache=cached):
            if view.name == name:
                return view
        raise refused_by_feast(FeatureViewNotFoundException(name, self._store.project), "feature_view_name")

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        """One write at a time."""
        if not self._writing.acquire(timeout=WAIT_SECONDS):
            raise BeaconError("overloaded", "another write or a materialization is under way; try again")
        try:
            with _outages_told():
                yield
        finally:
            self._writing.release()


@contextlib.contextmanager
def _outages_told() -> Iterator[None]:
    """What a store or a registry that is down raises becomes a 503."""
    try:
        yield
    except FeastError as error:
        raise refused_by_feast(error) from error
    except FeatureStoreError as error:
        raise BeaconError("feature_store_unavailable", str(error)) from error
    except Exception as error:
        if not _is_outage(error):
            raise
        log.warning("write failed", exc_info=error)
        raise BeaconError("feature_store_unavailable", f"the store does not answer: {message_of(error)}") from error


def add_writes(app: Flask, writer: Writer) -> None:
    """Put the write routes on the app, each behind the token."""
    routes: dict[str, Callable[[], Response]] = {
        "/push": writer.push,
        "/write-to-online-store": writer.write_online,
        "/materialize": writer.materialize,
        "/materialize-incremental": writer.materialize_incremental,
    }

    def guarded(handle: Callable[[], Response]) -> Callable[[], Response]:
        def route() -> Response:
            writer.require_token()
            return handle()

        return route

    for path, handle in routes.items():
        app.add_url_rule(path, path, guarded(handle), methods=["POST"])


def _body(kind: type[BodyT]) -> BodyT:
    """The body; a member that is null is not given."""
    require_content_type(current_request(), frozenset({JSON}))

    def decode(text: bytes) -> BodyT:
        found = _decode(text)
        given = {name: v for name, v in found.items() if v is not None} if isinstance(found, dict) else found
        return msgspec.convert(given, kind)

    return decode_body(request.get_data(), decode)


def _materialize_body() -> Materialize:
    """The body, and no parameter that Feast knows and this server would have to pass over."""
    if _flag("force"):
        rule = "there is nothing to force: a materialization that was killed leaves nothing behind that bars the next"
        raise invalid("invalid_body", rule, ("query", "force"))
    body = _body(Materialize)
    if body.version is not None:
        raise invalid("invalid_body", "pinned versions of a view are not served", ("body", "version"))
    if body.full_feature_names:
        rule = "the stores name features by their view already"
        raise invalid("invalid_body", rule, ("body", "full_feature_names"))
    return body


def _flag(name: str) -> bool:
    text = request.args.get(name, "").lower()
    if text not in FLAGS:
        raise invalid("invalid_type", f"{name} must be true or false", ("query", name))
    return FLAGS[text]


def _is_outage(error: Exception) -> bool:
    """Whether a store or a registry is down; other databases' drivers name such errors as the DB-API does."""
    if isinstance(error, (sqlite3.Error, RedisError, OSError, DecodeError)):
        return True
    return not {"OperationalError", "InterfaceError"}.isdisjoint(kind.__name__ for kind in type(error).__mro__)


def _time(text: str | None, name: str, now: datetime) -> datetime:
    """A time that has come: rows that come later would be passed over by whoever goes on from one that has not."""
    if text is None:
        raise invalid("invalid_body", f"{name} is needed", ("body", name))
    try:
        return min(now, read_past_time(text, now, UTC))
    except ValueError as error:
        raise invalid(error_code(error), f"{name} {error}", ("body", name)) from error


def _null() -> Response:
    return Response(b"null", 200, content_type="application/json")
