"""The OpenAPI document, built from product.yaml."""

from typing import Any

from beacon_core.product import Product
from beacon_core.settings import Settings


def openapi(product: Product, settings: Settings) -> dict[str, Any]:
    """Describe every public route, with an example each."""
    return {
        "openapi": "3.1.0",
        "info": {"title": f"Beacon: {product.title}", "version": settings.build_version},
        "paths": {},
        "components": {"schemas": {}},
    }
