"""Copy what is new in the offline store into the online store. Exit 0 done, 1 refused, 75 try again later."""

from beacon_core.data.database import migrate, open_store
from beacon_core.data.job_runs import recorded
from beacon_core.feature_store import repo
from beacon_core.feature_store.errors import NoDataYetError
from beacon_core.platform import clock
from beacon_core.platform.arguments import CommandParser
from beacon_core.platform.job import log, map_errors, run_job
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import load_settings

JOB = "materialize"


@map_errors("materialization failed", "materialization failed, try again")
def main() -> int:
    """Apply the definitions and materialize once; a failure is one clear line and an exit status.

    Safe to repeat and to kill: what was not finished is covered by the next run, as Feast's registry moves on only at
    the end.
    """
    parser = CommandParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="all rows, as into a store that was emptied")
    given = parser.parse_args()
    settings = load_settings()
    product = load_product(settings.product)
    if product.entity is None:
        log.info("nothing to do: %s has no entity", product.name)
        return 0
    end = clock.now()
    engine = open_store(settings.database)
    migrate(engine)
    with recorded(engine, JOB, end.isoformat(), "materialize") as run:
        repo.apply(settings, product)
        try:
            done = repo.materialize(settings, product, end, everything=given.all)
        except NoDataYetError as error:
            # As on a platform that was just installed, whose schedule comes before its first retraining.
            run.rows = 0
            log.info("nothing to do: %s", error)
            return 0
        newest = None if done.newest is None else done.newest.isoformat()
        run.rows = done.rows
        run.details = {"view": done.view, "start": done.start.isoformat(), "newest": newest}
    since = done.start.isoformat(timespec="seconds")
    log.info("%s: %d rows since %s, newest %s", done.view, done.rows, since, newest or "none")
    return 0


def run() -> int:
    """Copy what is new in the offline store into the online store."""
    return run_job(JOB, main)
