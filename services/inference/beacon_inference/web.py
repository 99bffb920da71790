"""The routes where speed does not matter: health, model metadata, docs, the prediction log, actuals."""

from importlib import resources
from typing import Any

from flask import Flask, Response

from beacon_core.errors import BeaconError
from beacon_core.product import Product
from beacon_core.serving.flask_app import create_flask
from beacon_core.settings import Settings
from beacon_inference.database import Database
from beacon_inference.models import Models
from beacon_inference.openapi import openapi
from beacon_inference.prediction_log import PredictionLog
from beacon_inference.record import Wording
from beacon_inference.web_log import add_log
from beacon_inference.web_models import add_metadata


def create_web(
    settings: Settings, product: Product, models: Models, log: PredictionLog, database: Database, wording: Wording
) -> Flask:
    """Make the Flask half of inference."""
    app = create_flask("beacon_inference")
    _add_health(app, models)
    add_metadata(app, settings, product, models)
    _add_docs(app, settings, product)
    add_log(app, settings, product, log, database, wording)
    return app


def _add_health(app: Flask, models: Models) -> None:
    def ready() -> bool:
        return models.serving is not None

    @app.get("/livez")
    def livez() -> Any:
        return {"live": True}

    @app.get("/readyz")
    def readyz() -> Any:
        if models.serving is None:
            raise BeaconError("model_not_ready", models.failure or "no model is in service yet")
        pin = models.serving.model.pin
        return {"ready": True, "model": {"name": pin.name, "version": pin.version, "sha256": pin.sha256}}

    @app.get("/v2/health/live")
    def v2_live() -> Any:
        return {"live": True}

    @app.get("/v2/health/ready")
    def v2_ready() -> Any:
        return {"ready": ready()}, 200 if ready() else 503

    @app.get("/ping")
    @app.get("/health")
    def ping() -> Response:
        # As MLflow answers it, but for the type: a line feed is no JSON.
        return Response("\n", 200 if ready() else 404, content_type="text/plain")


def _add_docs(app: Flask, settings: Settings, product: Product) -> None:
    document = openapi(product, settings)
    page = resources.files("beacon_inference").joinpath("docs.html").read_text(encoding="utf-8")

    @app.get("/openapi.json")
    def openapi_json() -> Any:
        return document

    @app.get("/docs")
    def docs() -> Response:
        return Response(page.replace("{{title}}", product.title), content_type="text/html; charset=utf-8")

    @app.get("/")
    def index() -> Response:
        return Response(status=302, headers={"Location": "/docs"})
