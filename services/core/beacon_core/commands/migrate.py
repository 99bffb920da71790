"""Migrate the store's tables to the newest schema; safe to repeat. Exit 0 done, 1 refused, 75 try again later."""

from beacon_core.data.database import DatabaseUnavailableError, migrate_at
from beacon_core.platform.arguments import CommandParser
from beacon_core.platform.job import log, map_errors, run_job
from beacon_core.platform.retry import until_up
from beacon_core.platform.settings import load_settings


@map_errors("migration refused", "migration failed, try again")
def main() -> int:
    """Migrate once; a failure is one log line and an exit status."""
    parser = CommandParser(description=__doc__)
    parser.add_argument("--wait", type=float, default=0.0, help="seconds to wait for the database")
    given = parser.parse_args()
    settings = load_settings()
    until_up(lambda: migrate_at(settings.database), given.wait, (DatabaseUnavailableError,))
    log.info("the store has the newest schema")
    return 0


def run() -> int:
    """Migrate the store's tables to the newest schema."""
    return run_job("migrate", main)
