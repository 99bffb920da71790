"""Bring the store's tables to the newest schema; safe to repeat. Exit 0 done, 1 refused, 75 try again later."""

from alembic.util import CommandError
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from beacon_core.data.database import migrate, open_store
from beacon_core.domain.masking import word
from beacon_core.platform.job import log, run_job
from beacon_core.platform.settings import SettingsError, load_settings

REFUSED, TRY_AGAIN = 1, 75


def main() -> int:
    """Migrate once; a failure is one clear line and an exit status."""
    try:
        migrate(open_store(load_settings().database))
    except OperationalError as error:
        log.error("migration failed, try again: %s", word(error))
        return TRY_AGAIN
    except (SettingsError, CommandError, SQLAlchemyError) as error:
        log.error("migration refused: %s", word(error))
        return REFUSED
    log.info("the store has the newest schema")
    return 0


def run() -> int:
    """Run as a process of its own."""
    return run_job("migrate", main)
