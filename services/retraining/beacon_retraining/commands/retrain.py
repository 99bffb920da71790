"""Retrain: data to a registered model with a verdict. Exit 0 done, 1 refused, 65 bad data, 75 try again later."""

import argparse

import msgspec

from beacon_core.platform.job import log, map_errors, run_job
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import load_settings
from beacon_retraining.pipeline import triggers
from beacon_retraining.pipeline.pipeline import Order, retrain
from beacon_retraining.pipeline.stages import JOB
from beacon_retraining.pipeline.workspace import default_training


@map_errors("retraining failed", "retraining failed")
def main() -> int:
    """Run once; a failure is one clear line and an exit status."""
    training = default_training()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--trigger", choices=(triggers.HAND, triggers.SCHEDULE, triggers.REQUESTS), default=triggers.HAND
    )
    parser.add_argument("--here", action="store_true", help="all stages in this process, without DVC")
    parser.add_argument("--force", action="store_true", help="run unchanged stages, too")
    parser.add_argument("--accept-shift", action="store_true", help="take data unlike the last accepted ones")
    parser.add_argument("--folds", type=int, default=training.folds, help="of the cross-validation")
    parser.add_argument("--repeats", type=int, default=training.repeats, help="of the cross-validation")
    parser.add_argument("--seed", type=int, default=training.seed, help="of everything that draws lots")
    parser.add_argument("--candidates", nargs="+", default=training.candidates, help="to choose from")
    parser.add_argument("--jobs", type=int, default=training.jobs, help="processes; -1: one a core")
    given = parser.parse_args()
    settings = load_settings()
    training = msgspec.structs.replace(
        training,
        folds=given.folds,
        repeats=given.repeats,
        seed=given.seed,
        candidates=tuple(given.candidates),
        jobs=given.jobs,
    )
    order = Order(given.trigger, by_dvc=not given.here, force=given.force, accept_shift=given.accept_shift)
    retrain(settings, load_product(settings.product), training, order, log.info)
    return 0


def run() -> int:
    """Run as a process of its own."""
    return run_job(JOB, main)
