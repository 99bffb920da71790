"""Migrate the store's tables to the newest schema; safe to repeat. Exit 0 done, 1 refused, 75 try again later."""

from beacon_core.data.database import migrate, open_store
from beacon_core.platform.arguments import CommandParser
from beacon_core.platform.job import log, map_errors, run_job
from beacon_core.platform.settings import load_settings


@map_errors("migration refused", "migration failed, try again")
def main() -> int:
    """Migrate once; a failure is one log line and an exit status."""
    CommandParser(description=__doc__).parse_args()
    migrate(open_store(load_settings().database))
    log.info("the store has the newest schema")
    return 0


def run() -> int:
    """Migrate the store's tables to the newest schema."""
    return run_job("migrate", main)
