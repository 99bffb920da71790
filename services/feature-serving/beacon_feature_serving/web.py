"""The Flask app of the write routes, with errors in Feast's shape, and the health routes outside it.

Writes may wait for each other and for a store; the event loop answers health, so that they cannot block it.
"""

from flask import Flask
from flask import Response as FlaskResponse

from beacon_core.domain.errors import BeaconError
from beacon_core.platform.settings import Settings
from beacon_core.web.access import AccessControl
from beacon_core.web.flask_app import create_flask, current_request
from beacon_core.web.http import CHALLENGES, Request, Response, Route
from beacon_feature_serving.catalog.registry import FeatureRegistry
from beacon_feature_serving.errors import error_body
from beacon_feature_serving.writing.materialize import Materializer
from beacon_feature_serving.writing.routes import add_write_routes
from beacon_feature_serving.writing.writer import Writer


def health_routes(registry: FeatureRegistry) -> list[Route]:
    """Liveness, and readiness by status alone, as Feast has it.

    The online store is no part of either: its failure is an error of each request.
    """

    async def livez(_request: Request) -> Response:
        return Response(b'{"live":true}')

    async def health(_request: Request) -> Response:
        return Response(b"", 200 if registry.loaded else 503)

    return [Route("/livez", livez, "GET"), *(Route(path, health, "GET") for path in ("/health", "/readyz"))]


def create_web(settings: Settings, access: AccessControl, writer: Writer, materializer: Materializer) -> Flask:
    """Make the Flask app of feature serving."""
    app = create_flask("beacon_feature_serving")
    app.register_error_handler(BeaconError, _feast_error)
    add_write_routes(app, settings, access, writer, materializer)
    return app


def _feast_error(error: BeaconError) -> FlaskResponse:
    context = current_request()
    context.error_code = error.code
    response = FlaskResponse(error_body(error, context), error.status, content_type="application/json")
    if error.status == 503:
        response.headers["Retry-After"] = "1"
    if error.status in CHALLENGES:
        response.headers["WWW-Authenticate"] = CHALLENGES[error.status].decode()
    return response
