"""Compare what serving returned with what training would see. Exit 0 equal enough, 1 too much skew, 75 try again."""

from datetime import timedelta

import msgspec

from beacon_core.data.database import migrate
from beacon_core.data.job_runs import recorded
from beacon_core.data.prediction_log.reading import open_log
from beacon_core.domain.exit_statuses import TRY_AGAIN
from beacon_core.domain.masking import message_of
from beacon_core.feature_store.errors import FeatureStoreError
from beacon_core.platform import clock
from beacon_core.platform.arguments import CommandParser
from beacon_core.platform.job import log, map_errors, run_job
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import load_settings
from beacon_feature_serving.skew import measure_skew

JOB = "skew"
SKEWED = 1


@map_errors("skew check failed", "skew check failed, try again")
def main() -> int:
    """Replay the predictions of the last days; one line says how many differ, and in which features."""
    parser = CommandParser(description=__doc__)
    parser.add_argument("--days", type=float, default=1.0, help="how far back")
    parser.add_argument("--most", type=float, default=0.0, help="share of unequal predictions that is still fine")
    arguments = parser.parse_args()
    settings = load_settings()
    product = load_product(settings.product)
    if product.entity is None:
        log.info("nothing to do: %s has no entity", product.name)
        return 0
    until = clock.now()
    since = until - timedelta(days=arguments.days)
    try:
        engine = open_log(settings)
        migrate(engine)
        with recorded(engine, JOB, f"{since.isoformat()}/{until.isoformat()}", "replay") as run:
            skew = measure_skew(settings, product, engine, since, until)
            run.rows, run.details = skew.predictions, msgspec.to_builtins(skew)
    except FeatureStoreError as error:  # there is nothing to compare with yet
        log.error("skew check failed, try again: %s", message_of(error))
        return TRY_AGAIN
    by_feature = ", ".join(f"{name} {count}" for name, count in skew.features.items()) or "none"
    log.info(f"{skew.unequal} of {skew.predictions} predictions differ ({skew.share:.2%}); features: {by_feature}")
    return SKEWED if skew.share > arguments.most else 0


def run() -> int:
    """Compare what serving returned with what training would see."""
    return run_job(JOB, main)
