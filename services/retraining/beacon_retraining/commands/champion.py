"""Print the model in service as a release file (JSON). Exit 0 done, 3 none yet, 1 refused, 75 try again.

The store says which it is: its ledger of promotions, and before the first one its verdict on the first model.
"""

import sys

import msgspec

from beacon_core.data.champion import champion
from beacon_core.data.database import mapped_errors, migrate, open_store
from beacon_core.model_package.release import Release
from beacon_core.platform import results
from beacon_core.platform.arguments import CommandParser
from beacon_core.platform.job import run_command
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import Settings

NONE_YET = 3


def main(settings: Settings) -> int:
    """Ask the store; nothing is downloaded."""
    CommandParser(description=__doc__).parse_args()
    product = load_product(settings.product)
    engine = open_store(settings.database)
    migrate(engine)
    with mapped_errors():
        pin = champion(engine, product.name)
    if pin is None:
        print(f"{product.name} has no champion yet", file=sys.stderr)
        results.fail(f"{product.name} has no champion yet", NONE_YET)
        return NONE_YET
    release = Release(model=pin)
    results.give(release)
    results.say(msgspec.json.encode(release).decode())
    return 0


def run() -> int:
    """Print the model in service as a release file."""
    return run_command("champion", main)
