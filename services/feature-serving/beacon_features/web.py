"""The routes where speed does not matter: health and writes, with errors as Feast words them."""

from flask import Flask, Response

from beacon_core.errors import BeaconError
from beacon_core.serving.flask_app import create_flask, current_request
from beacon_features.refusal import error_body
from beacon_features.registry import Registry
from beacon_features.writing import Writer, add_writes


def create_web(registry: Registry, writer: Writer) -> Flask:
    """Make the Flask half of feature serving."""
    app = create_flask("beacon_features")
    app.register_error_handler(BeaconError, _feast_error)

    @app.get("/livez")
    def livez() -> dict[str, bool]:
        return {"live": True}

    @app.get("/health")
    @app.get("/readyz")
    def health() -> Response:
        # Feast's shape: the status says it all. The online store is no part of it: its failure is told per request.
        return Response(status=200 if registry.loaded else 503)

    add_writes(app, writer)
    return app


def _feast_error(error: BeaconError) -> Response:
    context = current_request()
    context.error_code = error.code
    response = Response(error_body(error, context), error.status, content_type="application/json")
    if error.status == 503:
        response.headers["Retry-After"] = "1"
    if error.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response
