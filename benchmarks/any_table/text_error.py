"""What text columns are worth: the error of a table with them, and of its other columns alone."""

from pathlib import Path

from retraining.base import base_dataset

from any_table.proposed import propose
from any_table.tables import Table, without
from beacon_core.domain.product import Product
from beacon_retraining.training.settings import TrainSettings
from beacon_retraining.training.train import train

SETTINGS = TrainSettings(folds=3, repeats=1)


def measure(table: Table, folder: Path) -> str:
    """The cross-validated RMSE of both, in the target's unit."""
    product = propose(table, folder)
    texts = [feature.name for feature in product.features if feature.is_text and not feature.is_time]
    if not texts:
        return "no text"
    alone = propose(without(table, product, texts, folder), folder)
    whole, numbers = _rmse(product), _rmse(alone)
    return f"{whole:.4g} with {len(texts)} of text, {numbers:.4g} without: {1 - whole / numbers:.0%} lower"


def _rmse(product: Product) -> float:
    return train(base_dataset(product), product, SETTINGS).result.rmse
