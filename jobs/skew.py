"""Compare what serving returned with what training would see. Exit 0 equal enough, 1 too much skew, 75 try again."""

import argparse
import sys
from datetime import timedelta

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from beacon_core import clock
from beacon_core.job import log, run_job
from beacon_core.job_runs import recorded
from beacon_core.masking import word
from beacon_core.product import load_product
from beacon_core.settings import load_settings
from beacon_core.store import migrate, open_store
from beacon_features.skew import measure_skew
from feature_repo.errors import FeatureStoreError

JOB = "skew"
SKEWED, TRY_AGAIN = 1, 75


def main() -> int:
    """Replay the predictions of the last days; one line says how many differ, and in which features."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=float, default=1.0, help="how far back")
    parser.add_argument("--most", type=float, default=0.0, help="share of unequal predictions that is still fine")
    arguments = parser.parse_args()
    settings = load_settings()
    product = load_product(settings.product)
    until = clock.now()
    since = until - timedelta(days=arguments.days)
    try:
        engine = open_store(settings.database)
        migrate(engine)
        with recorded(engine, JOB, f"{since.isoformat()}/{until.isoformat()}", "replay") as run:
            skew = measure_skew(settings, product, engine, since, until)
            run.rows, run.details = skew.predictions, msgspec.to_builtins(skew)
    except (FeatureStoreError, SQLAlchemyError, OSError) as error:
        log.error("skew check failed, try again: %s", word(error))
        return TRY_AGAIN
    told = ", ".join(f"{name} {count}" for name, count in skew.features.items()) or "none"
    log.info(f"{skew.unequal} of {skew.predictions} predictions differ ({skew.share:.2%}); features: {told}")
    return SKEWED if skew.share > arguments.most else 0


if __name__ == "__main__":
    sys.exit(run_job(JOB, main))
