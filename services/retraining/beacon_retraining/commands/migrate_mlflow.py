"""Bring the database MLFLOW_BACKEND_STORE_URI to this MLflow's schema. Exit 0 done, 1 refused, 75 try again later."""

import os

from beacon_core.data.database import DatabaseUnavailableError
from beacon_core.platform.arguments import CommandParser
from beacon_core.platform.job import log, map_errors, run_job
from beacon_core.platform.retry import until_up
from beacon_retraining.errors import RetrainError
from beacon_retraining.registry.schema import upgrade

VARIABLE = "MLFLOW_BACKEND_STORE_URI"


@map_errors("migration refused", "migration failed, try again")
def main() -> int:
    """Migrate once; a failure is one log line and an exit status."""
    parser = CommandParser(description=__doc__)
    parser.add_argument("--wait", type=float, default=0.0, help="seconds to wait for the database")
    given = parser.parse_args()
    url = os.environ.get(VARIABLE, "")
    if not url.startswith("postgresql"):
        raise RetrainError(f"{VARIABLE}: must be the URL of a database of PostgreSQL")
    log.info("%s", until_up(lambda: upgrade(url), given.wait, (DatabaseUnavailableError,)))
    return 0


def run() -> int:
    """Bring MLflow's database to this MLflow's schema."""
    return run_job("migrate-mlflow", main)
