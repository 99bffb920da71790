"""Profile the prediction log, compare with training, judge. Exit 0 done, 1 refused, 75 try again or at work already."""

import argparse
from datetime import datetime

import msgspec

from beacon_core.data.database import migrate
from beacon_core.data.prediction_log.reading import open_log
from beacon_core.domain.times import read_time
from beacon_core.platform import clock, results
from beacon_core.platform.arguments import CommandParser
from beacon_core.platform.engine import open_engine
from beacon_core.platform.job import log, map_errors, run_job
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import load_settings
from beacon_drift_profiling.run import JOB, Outcome, run_drift


class DriftRunResult(msgspec.Struct, frozen=True):
    """What a run of drift profiling found; the figures of each feature are on the console and in the store."""

    profiled_rows: int
    """Rows that were profiled now."""
    profiles: int
    """Profiles that were written."""
    set_aside: int
    """Rows that do not parse."""
    period: str
    """The run's name."""
    state: str
    """The state of the product: ok, drift and the like."""
    version: str | None
    """The model version that is judged; null where none has answered."""
    rows: int
    """Rows that were compared."""
    retraining: str
    """Whether a retraining was requested, and why."""
    messages: list[str]
    """What was found, in sentences."""


@map_errors("profiling refused", "profiling failed, try again", "profiling left alone")
def main() -> int:
    """Run once; what was found is in the store, in the report, and in a few lines here."""
    parser = CommandParser(description=__doc__)
    parser.add_argument("--at", type=_moment, default=None, help="as if it were this moment (ISO 8601, with a zone)")
    parser.add_argument("--segments", action="store_true", help="also keep one profile per segment")
    arguments = parser.parse_args()
    settings = load_settings()
    product = load_product(settings.product)
    now = arguments.at or clock.now()
    with open_engine(settings, JOB) as jobs:
        engine = open_log(settings, jobs=jobs)
        migrate(engine)
        outcome = run_drift(settings, product, engine, now, arguments.segments, jobs)
    _log_outcome(outcome)
    results.give(_result(outcome))
    return 0


def _log_outcome(outcome: Outcome) -> None:
    done = outcome.profiled
    log.info(f"{done.rows} rows into {done.profiles} profiles; {done.unchanged} hours unchanged")
    if done.set_aside or done.undated:
        log.info(f"set aside: {done.set_aside} rows that do not parse, {done.undated} without a time")
    run = outcome.run
    log.info(f"{run.period}: {run.state}, version {run.serving}, {run.rows} rows; retraining: {outcome.request.why}")
    for message in run.messages:
        log.info(f"  {message}")


def _result(outcome: Outcome) -> DriftRunResult:
    done, run, request = outcome.profiled, outcome.run, outcome.request
    figures = (run.period, run.state, run.serving, run.rows, request.why, list(run.messages))
    return DriftRunResult(done.rows, done.profiles, done.set_aside, *figures)


def _moment(text: str) -> datetime:
    try:
        return read_time(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def run() -> int:
    """Compare the prediction log with training, and raise alarms."""
    return run_job(JOB, main)
