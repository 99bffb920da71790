"""Print where a prediction comes from: model version, run, data, code. Exit 0 found, 1 not found, 75 MLflow is away."""

import argparse
import sys

from beacon_core.job import complain, run_command
from beacon_core.masking import mask
from beacon_core.product import load_product
from beacon_core.settings import Settings
from beacon_core.store import open_store
from beacon_retrain.errors import EXPECTED, status_of
from beacon_retrain.lineage import trace
from beacon_retrain.register import Registry


def main(settings: Settings) -> int:
    """One line a step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prediction", help="the prediction's id, as the answer gave it")
    given = parser.parse_args()
    product = load_product(settings.product)
    try:
        steps = trace(open_store(settings.database), Registry(settings.mlflow_address), product, given.prediction)
    except EXPECTED as error:
        complain("lineage", error)
        return status_of(error)
    for name, value in steps.items():
        print(mask(f"{name:<11}{value}"))
    return 0


if __name__ == "__main__":
    sys.exit(run_command("lineage", main))
