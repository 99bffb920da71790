"""Reads product.yaml and policy.yaml, and checks them by the rules of the product spec."""

from pathlib import Path
from typing import Any

from beacon_core.domain.product import Product, parse_product
from beacon_core.domain.spec import ProductError
from beacon_core.domain.yaml_text import YamlError
from beacon_core.platform.yaml_file import read_yaml


def load_product(file: Path) -> Product:
    """Read and check product.yaml, and the policy.yaml beside it; raises `ProductError` naming file, key and rule."""
    return parse_product(file, _read(file), _read_policy)


def _read_policy(file: Path) -> Any:
    return _read(file) if file.exists() else None


def _read(file: Path) -> Any:
    try:
        return read_yaml(file)
    except YamlError as error:
        raise ProductError(file, error.key, error.rule) from error
