"""The console's Flask app: its pages, and every failure as a page with one clear sentence."""

from typing import Any

from flask import Flask, Response, render_template, request
from flask_wtf.csrf import CSRFError
from jinja2 import StrictUndefined
from werkzeug.exceptions import HTTPException

from beacon_console import formats, pages, pictures
from beacon_console.api.routes import PREFIX
from beacon_console.live import add_live
from beacon_console.login.guard import add_login
from beacon_console.models.registry import Registry
from beacon_console.static_files import add_static_files
from beacon_core.data.client import DatabaseClient
from beacon_core.data.database import DatabaseUnavailableError
from beacon_core.domain.errors import BeaconError
from beacon_core.domain.product import Product
from beacon_core.platform import clock
from beacon_core.platform.make_arguments import product_argument
from beacon_core.platform.settings import Settings
from beacon_core.web.flask_app import CODE_OF_STATUS, beacon_error, create_flask, current_request, root

# No script at all, and nothing from anywhere else.
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
MOST_FORM_BYTES = 64 << 10
"""The largest body that the console reads: a form of a few lines."""
RETRY_SECONDS = 5
TITLES = {401: "Not allowed", 403: "Not allowed", 429: "Not now", 404: "Not found", 413: "Too large", 503: "Not now"}


def create_web(settings: Settings, product: Product, database: DatabaseClient, registry: Registry) -> Flask:
    """Make the Flask app."""
    app = create_flask("beacon_console")
    app.config["MAX_CONTENT_LENGTH"] = MOST_FORM_BYTES
    app.jinja_env.undefined = StrictUndefined
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters |= formats.FILTERS
    app.jinja_env.globals |= {
        "product": product,
        "settings": settings,
        "product_argument": product_argument(settings),
        "pictures": pictures,
        "shift": clock.shift,
        "root": root,
    }
    _add_failures(app)
    _add_health(app)
    add_login(app, settings)
    add_static_files(app)
    add_live(app)
    pages.add_pages(app, settings, product, database, registry)

    @app.after_request
    def guard(response: Response) -> Response:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    return app


def _add_health(app: Flask) -> None:
    @app.get("/livez")
    def livez() -> Any:
        return {"live": True}

    @app.get("/readyz")
    def readyz() -> Any:
        # Without its database the console still serves a page that says so, and its metrics: a restart would not help.
        return {"ready": True}


def _add_failures(app: Flask) -> None:
    @app.errorhandler(DatabaseUnavailableError)
    def database_down(_: DatabaseUnavailableError) -> Response:
        rule = "The store does not answer, so there is nothing to show. Try again."
        return _failure(BeaconError("prediction_log_unavailable", rule))

    @app.errorhandler(CSRFError)
    def forged(_: CSRFError) -> Response:
        rule = "This form is not of a page that was shown to you, or of an earlier login. Nothing was done. Try again."
        return _failure(BeaconError("forbidden", rule))

    @app.errorhandler(BeaconError)
    def refused(error: BeaconError) -> Response:
        return _failure(error)

    @app.errorhandler(HTTPException)
    def refused_by_flask(error: HTTPException) -> Response:
        status = error.code or 500
        if 300 <= status < 400:
            return Response(status=status, headers=error.get_headers())
        code = CODE_OF_STATUS.get(status, "invalid_body" if status < 500 else "internal")
        sentence = "There is no such page." if status == 404 else str(error.description or error.name)
        response = _failure(BeaconError(code, sentence))
        if "Allow" in dict(error.get_headers()):
            response.headers["Allow"] = dict(error.get_headers())["Allow"]
        return response

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> Response:
        app.logger.error("unexpected error", exc_info=error)
        return _failure(BeaconError("internal", "Something unexpected went wrong; the request id finds it in the log."))


def _failure(error: BeaconError) -> Response:
    context = current_request()
    if request.path.startswith(f"{PREFIX}/"):
        return beacon_error(error)
    context.error_code = error.code
    title = TITLES.get(error.status, "Not possible" if error.status < 500 else "Failed")
    page = render_template("failure.html", title=title, error=error, request_id=context.id)
    response = Response(page, error.status, content_type="text/html; charset=utf-8")
    if error.status in {429, 503}:
        response.headers["Retry-After"] = str(RETRY_SECONDS if error.status == 503 else error.retry_after)
    return response
