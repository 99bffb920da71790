"""Assembles the inference service from its parts."""

import asyncio
import contextlib
import logging
import resource
import sys
from functools import partial

import msgspec
from prometheus_client import GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR, CollectorRegistry

from beacon_core.domain.api_keys import SINGLE_KEY, Scope
from beacon_core.domain.product import Product
from beacon_core.observability import metrics
from beacon_core.observability.volumes import watch_volumes
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import MAX_BODY_BYTES, Settings
from beacon_core.web.access import AccessControl
from beacon_core.web.asgi import Application
from beacon_core.web.http import Route
from beacon_core.web.middlewares.spans import open_spans
from beacon_inference.explanation.handler import Explanations
from beacon_inference.explanation.process import ExplainerProcess
from beacon_inference.metrics import Instruments
from beacon_inference.models.hot_swap import Models
from beacon_inference.per_product import PerProduct
from beacon_inference.prediction.feature_client import FeatureClient
from beacon_inference.prediction.pipeline import Pipeline
from beacon_inference.prediction_log.log import PredictionLog
from beacon_inference.protocols import mlflow, native, open_inference, v1
from beacon_inference.protocols.native_parser import NativeParser
from beacon_inference.protocols.serializer import Serializer
from beacon_inference.protocols.table import TableParser
from beacon_inference.routes.health import health_routes
from beacon_inference.routes.prediction_log import FLASK_SCOPES
from beacon_inference.routes.web import create_web

# Threads, such as those of the routes of Flask, must not block the event loop for the interpreter's default of 5 ms.
SWITCH_INTERVAL_SECONDS = 0.0005


# A value of a JSON body takes about so many bytes beside its name, and no body may be larger than the last figure.
BYTES_PER_VALUE = 24
LARGEST_BODY_BYTES = 32_000_000

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

SCOPES: frozenset[Scope] = frozenset({"predict", "explain", "actuals", "read_log", "synthetic"})


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
    """Build the ASGI application. The model and the connections start with gunicorn's worker."""
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    product = load_product(settings.product)
    settings = with_body_limit(settings, product)
    registry = CollectorRegistry()
    for collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
        registry.register(collector)
    metrics.gauge(metrics.PEAK_MEMORY, registry).set_function(peak_memory)
    watch_volumes({"spool": settings.spool_dir, "models": settings.models_dir}, registry)
    instruments = Instruments(registry, product, settings)
    access = AccessControl(settings, SCOPES, (SINGLE_KEY, settings.api_key), registry)
    if not access.has_keys and settings.host not in LOOPBACK:
        logging.getLogger(__name__).warning(
            "no API key is set: whoever reaches this service may write actuals and read the prediction log"
        )
    models = Models(settings, product, instruments)
    is_synced = settings.spool_fsync == "group"
    log = PredictionLog(settings.spool_dir, settings.spool_max_bytes, registry, is_synced=is_synced)
    features = FeatureClient(settings.features_address, settings.features_timeout_seconds, settings.features_key)
    pipeline = Pipeline(models, features, log, instruments, access)
    explainer = ExplainerProcess(instruments.explainer_started, lambda: pipeline.requests)
    explanations = Explanations(settings, access, pipeline, models, log, instruments, explainer)

    serializers = PerProduct(Serializer)
    parsers = PerProduct(partial(NativeParser, max_rows=settings.max_batch_rows))
    tables = PerProduct(partial(TableParser, max_rows=settings.max_batch_rows))
    infer = pipeline.handler(open_inference.open_inference(models, tables, explanations.of_records))
    binary = open_inference.CONTENT_TYPES
    routes = [
        Route("/v1/predict", pipeline.handler(native.one(parsers, serializers)), scope="predict"),
        Route("/v1/predict/batch", pipeline.handler(native.batch(parsers, serializers)), scope="predict"),
        Route("/v1/explain", explanations.handle, scope="explain"),
        Route("/v2/models/{name}/infer", infer, content_types=binary, scope="predict"),
        Route("/v2/models/{name}/versions/{version}/infer", infer, content_types=binary, scope="predict"),
        Route("/v1/models/{name}:predict", pipeline.handler(v1.v1(models, tables)), scope="predict"),
        Route("/v1/models/{name}:explain", explanations.handle_v1, scope="explain"),
        Route(
            "/invocations",
            pipeline.handler(mlflow.mlflow(tables)),
            error_body=mlflow.error_body,
            content_types=mlflow.CONTENT_TYPES,
            scope="predict",
        ),
        *health_routes(models),
    ]
    web = create_web(settings, access, models, log, serializers)
    watchers: list[asyncio.Task[None]] = []

    async def start() -> None:
        # One-time work is done before the service is ready, so that no request waits for it.
        await asyncio.gather(models.refresh(), features.warm())
        log.attach()
        watchers.extend(map(asyncio.create_task, (models.watch(), access.watch())))

    async def stop() -> None:
        for watcher in watchers:
            watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher
        await explanations.stop()
        await features.close()
        log.close()

    return Application(
        service="inference",
        settings=settings,
        metrics_port=settings.inference_metrics_port,
        routes=routes,
        flask=web,
        registry=registry,
        access=access,
        flask_scopes=FLASK_SCOPES,
        origins=settings.cors_origins,
        promised_seconds=product.policy.serving.latency_slo_seconds,
        spans=open_spans("inference", settings.build_version, peer__service="beacon-feature-serving"),
        start=start,
        stop=stop,
    )
