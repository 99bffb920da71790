"""Builds the console from its parts."""

import asyncio
import contextlib

from prometheus_client import GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR, CollectorRegistry

from beacon_console.exporter import StoreCollector
from beacon_console.models.registry import Registry
from beacon_console.web import create_web
from beacon_core.data.client import DatabaseClient
from beacon_core.data.database import DatabaseUnavailableError
from beacon_core.data.prediction_log.reading import lake_source, options_of
from beacon_core.model_package.signature import trust_of
from beacon_core.observability import metrics
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import Settings
from beacon_core.web.asgi import Application
from beacon_core.web.middlewares.spans import open_spans


def create(settings: Settings) -> Application:
    """Build the ASGI application; the database is opened at the start, or as soon as it answers."""
    product = load_product(settings.product)
    collectors = CollectorRegistry()
    for collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
        collectors.register(collector)
    build = metrics.gauge(metrics.BUILD_INFO, collectors)
    build.labels("console", settings.build_version, settings.build_revision).set(1)
    lake = lake_source(settings)
    database = DatabaseClient(settings.database, options=options_of(lake))
    StoreCollector(database, product, collectors)
    web = create_web(settings, product, database, Registry(settings.mlflow_address, trust_of(settings)))

    def warm() -> None:
        """Do at the start what the first reader would wait for; a database that is down does not prevent the start."""
        for name in web.jinja_env.list_templates():
            web.jinja_env.get_template(name)
        with contextlib.suppress(DatabaseUnavailableError), database.connect():
            pass
        with contextlib.suppress(DatabaseUnavailableError):
            if lake is not None:
                lake.warm()

    async def start() -> None:
        await asyncio.to_thread(warm)

    async def stop() -> None:
        await asyncio.to_thread(database.close)
        if lake is not None:
            lake.close()

    return Application(
        service="console",
        settings=settings,
        metrics_port=settings.console_metrics_port,
        routes=[],
        flask=web,
        registry=collectors,
        spans=open_spans("console", settings.build_version),
        start=start,
        stop=stop,
    )
