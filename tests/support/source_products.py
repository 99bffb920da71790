"""Products whose table comes from the source at hand, and files to read it from."""

from pathlib import Path
from typing import Any

from support.products import POLICY

from beacon_core.domain.product import Product, parse_product
from beacon_core.platform.yaml_file import read_yaml

FEATURES = {
    "amount": {"type": "float"},
    "name": {"type": "category"},
    "new": {"type": "bool"},
    "day": {"type": "date"},
}


def product_of(folder: Path, source: object, **changes: Any) -> Product:
    """A product of these columns whose table comes from `source`."""
    raw = {
        "name": "items",
        "source": source,
        "data": {"rows": {"min": 1, "max": 1000}},
        "entity": {"name": "item", "key": "id"},
        "time": {"event": "seen"},
        "target": {"name": "price"},
        "features": FEATURES,
    }
    policy = read_yaml(POLICY)
    policy["promotion"] |= {"directions": {}}
    return parse_product(folder / "product.yaml", raw | changes, lambda _: policy)


def put(folder: Path, name: str, content: str | bytes) -> str:
    """Write a file; its name."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return name
