"""The routes where speed does not matter: health."""

from flask import Flask, Response

from beacon_core.serving.flask_app import create_flask
from beacon_features.registry import Registry


def create_web(registry: Registry) -> Flask:
    """Make the Flask half of feature serving."""
    app = create_flask("beacon_features")

    @app.get("/livez")
    def livez() -> dict[str, bool]:
        return {"live": True}

    @app.get("/health")
    @app.get("/readyz")
    def health() -> Response:
        # Feast's shape: the status says it all. The online store is no part of it: its failure is told per request.
        return Response(status=200 if registry.loaded else 503)

    return app
