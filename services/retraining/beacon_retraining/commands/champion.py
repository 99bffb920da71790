"""Print the registry's champion as a release file (JSON). Exit 0 done, 3 none yet, 1 refused, 75 try again."""

import sys

import msgspec

from beacon_core.model_package.download import CHAMPION, pinned_at
from beacon_core.model_package.release import Release
from beacon_core.platform.job import run_command
from beacon_core.platform.mlflow import Mlflow
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import Settings

NONE_YET = 3


def main(settings: Settings) -> int:
    """Ask MLflow; nothing is downloaded."""
    product = load_product(settings.product)
    pin = pinned_at(Mlflow(settings.mlflow_address), product.name, CHAMPION)
    if pin is None:
        print(f"{product.name} has no champion yet", file=sys.stderr)
        return NONE_YET
    print(msgspec.json.encode(Release(model=pin)).decode())
    return 0


def run() -> int:
    """Print the registry's champion as a release file."""
    return run_command("champion", main)
