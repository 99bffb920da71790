"""Health and documentation."""

from beacon_core.domain.product import Product
from beacon_inference.openapi.operations import Json, answers
from beacon_inference.openapi.schemas import STRING, closed


def service_paths(product: Product) -> Json:
    """Describe the routes."""
    model = closed({"name": {"const": product.name}, "version": STRING, "sha256": STRING})
    busy = ("overloaded",)
    live = answers(closed({"live": {"const": True}}), "The process answers.", (), busy)
    ready = answers(
        closed({"ready": {"const": True}, "model": model}), "A model is in service.", (), (*busy, "model_not_ready")
    )
    html = answers(STRING, "HTML.", (), busy, content_type="text/html")
    document = answers({"type": "object"}, "OpenAPI 3.1.", (), busy)
    return {
        "/livez": _get("Is the process alive?", live),
        "/readyz": _get("Is a model in service, and which?", ready),
        "/docs": _get("A page to try all this on", html),
        "/openapi.json": _get("This document", document),
    }


def _get(summary: str, responses: Json) -> Json:
    return {"get": {"tags": ["service"], "summary": summary, "responses": responses}}
