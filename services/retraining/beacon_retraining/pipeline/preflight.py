"""What is checked of training code before a retraining begins.

A module of its own, imported only where product.yaml names an entry point: scikit-learn and Optuna take seconds.
"""

from beacon_core.domain.product import Product
from beacon_retraining.packaging.entry_point import check_converters
from beacon_retraining.training.entry_point.code import TrainingCode
from beacon_retraining.training.entry_point.probe import try_code
from beacon_retraining.training.search import plan_of
from beacon_retraining.training.settings import TrainSettings


def check_entry_point(entry_point: TrainingCode, product: Product, training: TrainSettings) -> None:
    """Check its settings and the installed converters, import it and build an estimator; raises `EntryPointError`."""
    plan_of(product, training, entry_point)
    check_converters(entry_point.function)
    try_code(entry_point, product, training.seed)
