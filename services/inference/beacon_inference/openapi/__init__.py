"""The OpenAPI 3.1 document: every public route, with examples that work.

Its schemas are those of the Structs that the service itself reads and answers with (`protocols/messages.py`,
`protocols/native_types.py`), with the ranges, categories and units of product.yaml (`shapes.py`). An example of a
request and the answer to it have the same name, so that a reader (and a test) can tell which answer belongs to it.
"""

from typing import Any

from beacon_core.domain.product import Product
from beacon_core.platform.settings import Settings
from beacon_inference.openapi.document import paths_and_schemas
from beacon_inference.openapi.examples import Examples
from beacon_inference.openapi.operations import TAGS, operations
from beacon_inference.openapi.shapes import shapes


def openapi(product: Product, settings: Settings) -> dict[str, Any]:
    """Describe every public route."""
    target, limit = product.target, settings.max_body_bytes
    what = target.name if target.title == target.name else f"{target.name}, the {target.title}"
    unit = f", in {target.unit}" if target.unit else ""
    described = operations(product, settings, shapes(product, settings), Examples(product))
    paths, schemas = paths_and_schemas(described)
    key = {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "Also as a Bearer token."}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"Beacon: {product.title}",
            "version": settings.build_version,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": (
                f"Predicts {what}{unit}. Values are checked against their valid "
                "range, missing ones are imputed and named in the answer, and every prediction comes with its interval "
                f"and is kept in the prediction log. A body has up to {limit:,} bytes. An error always has the same "
                "shape, with a stable code; a 500 (code `internal`) is a bug. A 429 or 503 may be tried again after "
                "the seconds in Retry-After."
            ),
        },
        "servers": [{"url": "."}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"key": key}},
    }
