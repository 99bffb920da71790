"""Assembles the inference service from its parts."""

import asyncio
import contextlib
import resource
import sys
from functools import partial

import msgspec
from prometheus_client import GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR, CollectorRegistry

from beacon_core.domain.product import Product
from beacon_core.observability import metrics
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import MAX_BODY_BYTES, Settings
from beacon_core.web.asgi import Application
from beacon_core.web.http import Route
from beacon_core.web.middlewares.spans import open_spans
from beacon_inference.metrics import Instruments
from beacon_inference.models.hot_swap import Models
from beacon_inference.per_product import PerProduct
from beacon_inference.prediction.feature_client import FeatureClient
from beacon_inference.prediction.pipeline import Pipeline
from beacon_inference.prediction_log.database import Database
from beacon_inference.prediction_log.shipper import PredictionLog
from beacon_inference.protocols import mlflow, native, open_inference, v1
from beacon_inference.protocols.native_parser import NativeParser
from beacon_inference.protocols.serializer import Serializer
from beacon_inference.protocols.table import TableParser
from beacon_inference.routes.health import health_routes
from beacon_inference.routes.web import create_web

# The shipper's thread must not block the event loop for the interpreter's default of 5 ms.
SWITCH_INTERVAL_SECONDS = 0.0005


# A value of a JSON body takes about so many bytes beside its name, and no body may be larger than the last figure.
BYTES_PER_VALUE = 24
LARGEST_BODY_BYTES = 32_000_000


def with_body_limit(settings: Settings, product: Product) -> Settings:
    """Let bodies be as large as the product's largest batch, where no setting says how large."""
    if settings.max_body_bytes != MAX_BODY_BYTES:
        return settings
    names = (*product.feature_names, *product.keys)
    row = sum(len(name.encode()) + BYTES_PER_VALUE for name in names)
    needed = max(MAX_BODY_BYTES, min(row * settings.max_batch_rows, LARGEST_BODY_BYTES))
    return msgspec.structs.replace(settings, max_body_bytes=needed)


def peak_memory() -> float:
    """Peak resident memory of this process in bytes, which shows even a short need of memory."""
    peak = float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return peak if sys.platform == "darwin" else peak * 1024


def create(settings: Settings) -> Application:
    """Build the ASGI application. The model, the connections and the shipper start with gunicorn's worker."""
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    product = load_product(settings.product)
    settings = with_body_limit(settings, product)
    registry = CollectorRegistry()
    for collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
        registry.register(collector)
    metrics.gauge(metrics.PEAK_MEMORY, registry).set_function(peak_memory)
    instruments = Instruments(registry, product, settings)
    models = Models(settings, product, instruments)
    database = Database(settings.database, product.feature_names)
    log = PredictionLog(settings.spool_dir, settings.spool_max_bytes, database, registry)
    features = FeatureClient(settings.features_address, settings.features_timeout_seconds)
    pipeline = Pipeline(models, features, log, instruments, settings.api_key)

    serializers = PerProduct(Serializer)
    parsers = PerProduct(partial(NativeParser, max_rows=settings.max_batch_rows))
    tables = PerProduct(partial(TableParser, max_rows=settings.max_batch_rows))
    infer = pipeline.handler(open_inference.open_inference(models, tables))
    binary = open_inference.CONTENT_TYPES
    routes = [
        Route("/v1/predict", pipeline.handler(native.one(parsers, serializers))),
        Route("/v1/predict/batch", pipeline.handler(native.batch(parsers, serializers))),
        Route("/v2/models/{name}/infer", infer, content_types=binary),
        Route("/v2/models/{name}/versions/{version}/infer", infer, content_types=binary),
        Route("/v1/models/{name}:predict", pipeline.handler(v1.v1(models, tables))),
        Route(
            "/invocations",
            pipeline.handler(mlflow.mlflow(tables)),
            error_body=mlflow.error_body,
            content_types=mlflow.CONTENT_TYPES,
        ),
        *health_routes(models),
    ]
    web = create_web(settings, models, log, database, serializers)
    watcher: asyncio.Task[None] | None = None

    async def start() -> None:
        nonlocal watcher
        # One-time work is done before the service is ready, so that no request waits for it.
        await asyncio.gather(models.refresh(), features.warm(), asyncio.to_thread(database.warm))
        log.start()
        watcher = asyncio.create_task(models.watch())

    async def stop() -> None:
        if watcher is not None:
            watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher
        await features.close()
        await asyncio.to_thread(log.stop)
        database.close()

    return Application(
        service="inference",
        settings=settings,
        metrics_port=settings.inference_metrics_port,
        routes=routes,
        flask=web,
        registry=registry,
        origins=settings.cors_origins,
        promised_seconds=product.policy.serving.latency_slo_seconds,
        spans=open_spans("inference", settings.build_version, peer__service="beacon-feature-serving"),
        start=start,
        stop=stop,
    )
