"""Retrain: data to a registered model package. Exit 0 done, 1 refused, 65 bad data, 75 try again later."""

import argparse
import sys

from beacon_core.logs import configure_logging
from beacon_core.product import load_product
from beacon_core.settings import load_settings
from beacon_retrain.export import ParityError
from beacon_retrain.fetch import FetchError
from beacon_retrain.history import DatasetError
from beacon_retrain.pipeline import retrain
from beacon_retrain.register import RegistryDown, RegistryError
from beacon_retrain.train import TrainSettings
from beacon_retrain.validate import DataError
from feature_repo.repo import FeatureStoreError

REFUSED, BAD_DATA, TRY_AGAIN = 1, 65, 75
STATUS_OF = {DataError: BAD_DATA, FetchError: TRY_AGAIN, RegistryDown: TRY_AGAIN}


def main() -> int:
    """Run the road once; a failure is one clear line and an exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folds", type=int, default=TrainSettings().folds, help="of the cross-validation")
    parser.add_argument("--repeats", type=int, default=TrainSettings().repeats, help="of the cross-validation")
    parser.add_argument("--jobs", type=int, default=TrainSettings().jobs, help="processes; -1: one a core")
    arguments = parser.parse_args()
    settings = load_settings()
    configure_logging("retraining", settings.build_version, "WARNING")
    training = TrainSettings(folds=arguments.folds, repeats=arguments.repeats, jobs=arguments.jobs)
    try:
        retrain(settings, load_product(settings.product), training, lambda line: print(line, flush=True))
    except (DataError, FetchError, DatasetError, FeatureStoreError, ParityError, RegistryDown, RegistryError) as error:
        print(f"retraining failed: {error}", file=sys.stderr)
        return STATUS_OF.get(type(error), REFUSED)
    return 0


if __name__ == "__main__":
    sys.exit(main())
