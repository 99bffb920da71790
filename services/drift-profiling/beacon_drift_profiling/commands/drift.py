"""Profile the prediction log, compare with training, judge. Exit 0 done, 1 refused, 75 try again or at work already."""

import argparse
import os
from datetime import datetime

from beacon_core.data.database import migrate, open_store
from beacon_core.domain.times import read_time
from beacon_core.platform import clock
from beacon_core.platform.job import log, map_errors, run_job
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import Settings, SettingsError, load_settings
from beacon_drift_profiling.profiling.profiling import Shard
from beacon_drift_profiling.run import JOB, Outcome, run_drift

INDEX = "JOB_COMPLETION_INDEX"


@map_errors("profiling refused", "profiling failed, try again", "profiling left alone")
def main() -> int:
    """Run once; what was found is in the store, in the report, and in a few lines here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at", type=_moment, default=None, help="as if it were this moment (ISO 8601, with a zone)")
    parser.add_argument("--segments", action="store_true", help="also keep one profile a segment")
    arguments = parser.parse_args()
    settings = load_settings()
    product = load_product(settings.product)
    shard = _shard(settings)
    engine = open_store(settings.database)
    migrate(engine)
    now = arguments.at or clock.now()
    outcome = run_drift(settings, product, engine, now, shard, per_segment=arguments.segments)
    _tell(outcome)
    return 0


def _shard(settings: Settings) -> Shard:
    given = os.environ.get(INDEX, "0")
    if not given.isdecimal() or int(given) >= settings.drift_shards:
        raise SettingsError(f"{INDEX} is {given}, and BEACON_DRIFT_SHARDS {settings.drift_shards}")
    return Shard(int(given), settings.drift_shards)


def _tell(outcome: Outcome) -> None:
    done = outcome.profiled
    log.info(f"{done.rows} rows into {done.profiles} profiles; {done.unchanged} hours unchanged")
    if done.set_aside or done.undated:
        log.info(f"set aside: {done.set_aside} rows that do not parse, {done.undated} without a time")
    if outcome.run is None or outcome.asked is None:
        log.info("other shards are still at work; the last one compares")
        return
    run = outcome.run
    log.info(f"{run.period}: {run.state}, version {run.serving}, {run.rows} rows; retraining: {outcome.asked.why}")
    for line in run.words:
        log.info(f"  {line}")


def _moment(text: str) -> datetime:
    try:
        return read_time(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def run() -> int:
    """Compare the prediction log with training, and raise alarms."""
    return run_job(JOB, main)
