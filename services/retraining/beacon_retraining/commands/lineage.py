"""Print where a prediction comes from: model version, run, data, code. Exit 0 found, 1 not found, 75 MLflow is away."""

import argparse

from beacon_core.data.database import open_store
from beacon_core.domain.masking import mask
from beacon_core.platform.job import run_command
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import Settings
from beacon_retraining.registry.lineage import trace
from beacon_retraining.registry.register import Registry


def main(settings: Settings) -> int:
    """One line a step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prediction", help="the prediction's id, as the answer gave it")
    given = parser.parse_args()
    product = load_product(settings.product)
    steps = trace(open_store(settings.database), Registry(settings.mlflow_address), product, given.prediction)
    for name, value in steps.items():
        print(mask(f"{name:<11}{value}"))
    return 0


def run() -> int:
    """Print the model version, run, data and code behind a prediction."""
    return run_command("lineage", main)
