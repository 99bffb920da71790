"""Print the registry's champion as a release file (JSON). Exit 0 done, 3 there is none yet, 75 try again later."""

import sys

import msgspec

from beacon_core.product import load_product
from beacon_core.release import Pin, Release
from beacon_core.settings import load_settings
from beacon_retrain.errors import RetrainError, status_of
from beacon_retrain.register import CHAMPION, Registry

NONE_YET = 3


def main() -> int:
    """Ask MLflow; nothing is downloaded."""
    settings = load_settings()
    product = load_product(settings.product)
    try:
        pin = find(Registry(settings.mlflow_address), product.name)
    except RetrainError as error:
        print(f"the registry cannot be read: {error}", file=sys.stderr)
        return status_of(error)
    if pin is None:
        print(f"{product.name} has no champion yet", file=sys.stderr)
        return NONE_YET
    print(msgspec.json.encode(Release(model=pin)).decode())
    return 0


def find(registry: Registry, name: str) -> Pin | None:
    """The champion, pinned by the digest that the registry has of its package."""
    version = registry.version_at(name, CHAMPION)
    return None if version is None else Pin(name, version, registry.sha256_of(name, version))


if __name__ == "__main__":
    sys.exit(main())
