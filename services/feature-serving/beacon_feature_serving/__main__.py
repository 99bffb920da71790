"""`python -m beacon_feature_serving`: serve features until SIGTERM."""

import os
import sys
from typing import Any

from beacon_core.domain.product import Product
from beacon_core.feature_store.errors import FeatureStoreError
from beacon_core.platform.settings import Settings
from beacon_core.web.server import start


def create(settings: Settings) -> Any:
    """Import the application in the worker only: gunicorn's own process stays small, and Feast is imported once."""
    os.environ.setdefault("TQDM_DISABLE", "1")  # Feast draws progress bars, and stderr is for the log
    import prometheus_client  # noqa: F401, PLC0415 - before Feast, which switches it to files shared by processes

    from beacon_feature_serving.app import create as create_application  # noqa: PLC0415

    return create_application(settings)


def check(product: Product) -> None:
    """Refuse a product whose rows cannot be asked for again."""
    if product.entity is None:
        raise FeatureStoreError(f"{product.name} has no entity, so there are no features to serve")


def ports(settings: Settings) -> tuple[int, int]:
    """The ports of the application and of its metrics."""
    return settings.features_port, settings.features_metrics_port


if __name__ == "__main__":
    sys.exit(start("feature-serving", create, ports, check))
