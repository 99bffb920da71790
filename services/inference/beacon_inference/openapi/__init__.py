"""The OpenAPI 3.1 document, built from product.yaml: every public route, with examples that work.

An example of a request and the answer to it have the same name, so that a reader (and a test) can tell what comes back.
"""

from typing import Any

from beacon_core.domain.product import Product
from beacon_core.platform.settings import Settings
from beacon_inference.openapi.examples import Examples
from beacon_inference.openapi.foreign import foreign_paths
from beacon_inference.openapi.native import native_paths
from beacon_inference.openapi.operations import TAGS
from beacon_inference.openapi.schemas import schemas
from beacon_inference.openapi.service import service_paths


def openapi(product: Product, settings: Settings) -> dict[str, Any]:
    """Describe every public route."""
    examples = Examples(product)
    target, limit = product.target, settings.max_body_bytes
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"Beacon: {product.title}",
            "version": settings.build_version,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": (
                f"Predicts {target.name}, the {target.title}, in {target.unit}. Values are checked against their valid "
                "range, missing ones are imputed and named in the answer, and every prediction comes with its interval "
                f"and is kept in the prediction log. A body has up to {limit:,} bytes. An error always has the same "
                "shape, with a stable code; a 500 (code `internal`) is a bug. A 503 may be tried again after the "
                "seconds in Retry-After."
            ),
        },
        "servers": [{"url": "."}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": native_paths(product, settings, examples)
        | foreign_paths(product, settings, examples)
        | service_paths(product),
        "components": {
            "schemas": schemas(product, settings),
            "securitySchemes": {
                "key": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "X-API-Key",
                    "description": "Asked for when one is set.",
                }
            },
        },
    }
