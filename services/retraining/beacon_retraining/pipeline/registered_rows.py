"""The rows that a registered version was trained on, among those of a dataset."""

from beacon_core.domain.product import Product
from beacon_retraining.data.dataset import Dataset
from beacon_retraining.evaluation.gate import Mask
from beacon_retraining.evaluation.known_rows import known_rows
from beacon_retraining.registry.register import Registry, RegistryRefusedError


def rows_known_to(registry: Registry, product: Product, dataset: Dataset, version: str) -> Mask | None:
    """Which rows a version was trained on; None where the registry does not tell."""
    try:
        trained_on = registry.training_rows(product.name, version)
    except (RegistryRefusedError, OSError):
        return None
    return known_rows(product, dataset, trained_on)
