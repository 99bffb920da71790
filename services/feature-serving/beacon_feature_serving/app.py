"""Builds feature serving from its parts, in the order in which they are needed."""

import asyncio
import contextlib

from prometheus_client import GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR, CollectorRegistry

from beacon_core.domain.api_keys import FEATURE_TOKEN, Scope
from beacon_core.domain.errors import BeaconError
from beacon_core.feature_store import repo
from beacon_core.observability.volumes import watch_volumes
from beacon_core.platform.settings import Settings
from beacon_core.platform.shared_files import SharedFilesError, SharedFilesUnavailableError
from beacon_core.web.access import AccessControl
from beacon_core.web.asgi import Application
from beacon_core.web.http import Route
from beacon_core.web.middlewares.spans import open_spans
from beacon_feature_serving.catalog.registry import FeatureRegistry
from beacon_feature_serving.errors import error_body
from beacon_feature_serving.instruments import Instruments
from beacon_feature_serving.reading.online_features import get_online_features
from beacon_feature_serving.stores.factory import open_reader
from beacon_feature_serving.web import create_web, health_routes
from beacon_feature_serving.writing.materialize import Materializer
from beacon_feature_serving.writing.routes import FLASK_SCOPES
from beacon_feature_serving.writing.writer import Writer

COPIES_SECONDS = 60.0
SCOPES: frozenset[Scope] = frozenset({"features", "push", "materialize"})


async def watch_copies() -> None:
    """Keep no copy of a shared file in S3 that is another one by now, for ever."""
    from beacon_core.platform.s3_files import forget_old_copies  # noqa: PLC0415 - where there is S3

    while True:
        await asyncio.sleep(COPIES_SECONDS)
        with contextlib.suppress(SharedFilesError, SharedFilesUnavailableError):
            await asyncio.to_thread(forget_old_copies)


def create(settings: Settings) -> Application:
    """Build the ASGI application; nothing is read or started before gunicorn's worker starts it."""
    collectors = CollectorRegistry()
    for collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
        collectors.register(collector)
    # On a cluster the registry and the data are on a volume of their own, which retraining writes to.
    watch_volumes({"home": settings.home, "files": settings.home / "feast"}, collectors)
    instruments = Instruments(collectors, settings)
    access = AccessControl(settings, SCOPES, (FEATURE_TOKEN, settings.feature_token), collectors)
    store = repo.open_store(settings)
    registry = FeatureRegistry(store, instruments)
    reader = open_reader(store, settings.online_store_timeout_seconds)
    writer = Writer(store, registry, reader)
    materializer = Materializer(writer)
    read = get_online_features(access, registry, reader, instruments, settings.max_batch_rows)
    web = create_web(settings, access, writer, materializer)
    watchers: list[asyncio.Task[None]] = []

    async def start() -> None:
        writer.start(asyncio.get_running_loop())
        await asyncio.to_thread(registry.refresh)
        with contextlib.suppress(BeaconError):  # each request to a store that is down gets the error
            await reader.check()
        watchers.extend(map(asyncio.create_task, (registry.watch(), access.watch())))
        if not settings.keeps_files:
            watchers.append(asyncio.create_task(watch_copies()))

    async def stop() -> None:
        for watcher in watchers:
            watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher
        await reader.close()
        await asyncio.to_thread(materializer.close)

    return Application(
        service="feature-serving",
        settings=settings,
        metrics_port=settings.features_metrics_port,
        routes=[Route("/get-online-features", read, error_body=error_body, scope="features"), *health_routes(registry)],
        flask=web,
        registry=collectors,
        access=access,
        flask_scopes=FLASK_SCOPES,
        flask_error_body=error_body,
        spans=open_spans("feature-serving", settings.build_version, db__system__name=store.config.online_store.type),
        start=start,
        stop=stop,
    )
