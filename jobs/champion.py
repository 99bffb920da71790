"""Print the registry's champion as a release file (JSON). Exit 0 done, 3 there is none yet, 75 try again later."""

import sys

import msgspec

from beacon_core.download import RegistryDown, champion
from beacon_core.job import complain, run_command
from beacon_core.product import load_product
from beacon_core.release import Release
from beacon_core.settings import Settings

NONE_YET, TRY_AGAIN = 3, 75


def main(settings: Settings) -> int:
    """Ask MLflow; nothing is downloaded."""
    product = load_product(settings.product)
    try:
        pin = champion(settings.mlflow_address, product.name)
    except RegistryDown as error:
        complain("the registry cannot be read", error)
        return TRY_AGAIN
    if pin is None:
        print(f"{product.name} has no champion yet", file=sys.stderr)
        return NONE_YET
    print(msgspec.json.encode(Release(model=pin)).decode())
    return 0


if __name__ == "__main__":
    sys.exit(run_command("champion", main))
