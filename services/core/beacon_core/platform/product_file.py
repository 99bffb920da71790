"""product.yaml as a file: read, and held to the rules of the product spec."""

from pathlib import Path

from beacon_core.domain.product import Product, ProductError, parse_product
from beacon_core.domain.yaml_text import YamlError
from beacon_core.platform.yaml_file import read_yaml


def load_product(file: Path) -> Product:
    """Read and check product.yaml; raises `ProductError` naming file, key and rule."""
    try:
        raw = read_yaml(file)
    except YamlError as error:
        raise ProductError(file, error.key, error.rule) from error
    return parse_product(file, raw)
