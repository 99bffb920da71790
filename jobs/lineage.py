"""Print where a prediction comes from: model version, run, data, code. Exit 0 found, 1 not found, 75 MLflow is away."""

import argparse
import sys

from beacon_core.logs import configure_logging
from beacon_core.product import load_product
from beacon_core.settings import load_settings
from beacon_core.store import open_store
from beacon_retrain.errors import EXPECTED, status_of
from beacon_retrain.lineage import trace
from beacon_retrain.register import Registry


def main() -> int:
    """One line a step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prediction", help="the prediction's id, as the answer gave it")
    given = parser.parse_args()
    settings = load_settings()
    configure_logging("retraining", settings.build_version, "WARNING")
    product = load_product(settings.product)
    try:
        steps = trace(open_store(settings.database), Registry(settings.mlflow_address), product, given.prediction)
    except EXPECTED as error:
        print(f"lineage: {error}", file=sys.stderr)
        return status_of(error)
    for name, value in steps.items():
        print(f"{name:<11}{value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
