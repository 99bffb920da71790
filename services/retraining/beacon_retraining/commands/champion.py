"""Print the registry's champion as a release file (JSON). Exit 0 done, 3 none yet, 1 refused, 75 try again."""

import sys

import msgspec

from beacon_core.model_package.download import CHAMPION, ForeignVersionError, pinned_at
from beacon_core.model_package.release import Release
from beacon_core.platform.job import complain, run_command
from beacon_core.platform.mlflow import Mlflow, RegistryUnavailableError
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import Settings

REFUSED, NONE_YET, TRY_AGAIN = 1, 3, 75


def main(settings: Settings) -> int:
    """Ask MLflow; nothing is downloaded."""
    product = load_product(settings.product)
    try:
        pin = pinned_at(Mlflow(settings.mlflow_address), product.name, CHAMPION)
    except ForeignVersionError as error:
        complain("the champion cannot be served", error)
        return REFUSED
    except RegistryUnavailableError as error:
        complain("the registry cannot be read", error)
        return TRY_AGAIN
    if pin is None:
        print(f"{product.name} has no champion yet", file=sys.stderr)
        return NONE_YET
    print(msgspec.json.encode(Release(model=pin)).decode())
    return 0


def run() -> int:
    """Run as a process of its own."""
    return run_command("champion", main)
