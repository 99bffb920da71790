"""The routes where speed does not matter: model metadata, docs, the prediction log, actuals."""

import re
from base64 import b64encode
from functools import partial
from hashlib import sha256
from html import escape
from importlib import resources
from typing import Any

from flask import Flask, Response

from beacon_core.platform.settings import Settings
from beacon_core.web.access import AccessControl
from beacon_core.web.flask_app import create_flask, root
from beacon_inference.models.hot_swap import Models
from beacon_inference.openapi import openapi
from beacon_inference.per_product import PerProduct
from beacon_inference.prediction_log.log import PredictionLog
from beacon_inference.protocols.serializer import Serializer
from beacon_inference.routes.models import add_metadata
from beacon_inference.routes.prediction_log import add_log


def create_web(
    settings: Settings,
    access: AccessControl,
    models: Models,
    log: PredictionLog,
    serializers: PerProduct[Serializer],
) -> Flask:
    """Create the Flask app of inference."""
    app = create_flask("beacon_inference")
    add_metadata(app, settings, models)
    _add_docs(app, settings, models)
    add_log(app, settings, access, models, log, serializers)
    return app


def _add_docs(app: Flask, settings: Settings, models: Models) -> None:
    documents = PerProduct(partial(openapi, settings=settings))
    page = resources.files("beacon_inference").joinpath("docs.html").read_text(encoding="utf-8")
    policy = content_policy(page)

    @app.get("/openapi.json")
    def openapi_json() -> Any:
        # "." is the folder of this document: correct also below a path prefix that is not configured.
        return documents(models.product) | {"servers": [{"url": root() or "."}]}

    @app.get("/docs")
    def docs() -> Response:
        return Response(
            page.replace("{{title}}", escape(models.product.title)),
            content_type="text/html; charset=utf-8",
            headers={"Content-Security-Policy": policy},
        )

    @app.get("/")
    def index() -> Response:
        return Response(status=302, headers={"Location": f"{root()}/docs"})


def content_policy(page: str) -> str:
    """A Content-Security-Policy that runs the page's own script and style, by their digests, and nothing else."""

    def digests(tag: str) -> str:
        parts = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        return " ".join(f"'sha256-{b64encode(sha256(part.encode()).digest()).decode()}'" for part in parts)

    return (
        f"default-src 'none'; script-src {digests('script')}; style-src {digests('style')}; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
