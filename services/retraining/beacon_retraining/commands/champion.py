"""Print the registry's champion as a release file (JSON). Exit 0 done, 3 none yet, 1 refused, 75 try again."""

import sys

import msgspec

from beacon_core.model_package.download import CHAMPION, pinned_at
from beacon_core.model_package.release import Release
from beacon_core.platform import results
from beacon_core.platform.arguments import CommandParser
from beacon_core.platform.job import run_command
from beacon_core.platform.mlflow import Mlflow
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import Settings

NONE_YET = 3


def main(settings: Settings) -> int:
    """Ask MLflow; nothing is downloaded."""
    CommandParser(description=__doc__).parse_args()
    product = load_product(settings.product)
    pin = pinned_at(Mlflow(settings.mlflow_address), product.name, CHAMPION)
    if pin is None:
        print(f"{product.name} has no champion yet", file=sys.stderr)
        results.fail(f"{product.name} has no champion yet", NONE_YET)
        return NONE_YET
    release = Release(model=pin)
    results.give(release)
    results.say(msgspec.json.encode(release).decode())
    return 0


def run() -> int:
    """Print the registry's champion as a release file."""
    return run_command("champion", main)
