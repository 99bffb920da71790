"""Retrain: data to a registered model with a verdict. Exit 0 done, 1 refused, 65 bad data, 75 try again later."""

import argparse

import msgspec

from beacon_core.domain.product_entry import MODEL_NAMES
from beacon_core.model_package.signature import signer_of
from beacon_core.platform import results
from beacon_core.platform.arguments import CommandParser
from beacon_core.platform.job import log, map_errors, run_job
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import load_settings
from beacon_retraining.pipeline import triggers
from beacon_retraining.pipeline.first import model_in_service
from beacon_retraining.pipeline.pipeline import RetrainOptions, retrain
from beacon_retraining.pipeline.stages import JOB
from beacon_retraining.pipeline.workspace import default_training


@map_errors("retraining failed", "retraining failed")
def main() -> int:
    """Run once; a failure is one clear line and an exit status."""
    training = default_training()
    parser = CommandParser(prog="beacon retrain", description=__doc__)
    parser.add_argument(
        "--trigger", choices=(triggers.HAND, triggers.SCHEDULE, triggers.REQUESTS), default=triggers.HAND
    )
    parser.add_argument(
        "--first",
        type=_not_negative,
        metavar="SECONDS",
        help="only a first model; waits so long for the store and MLflow",
    )
    parser.add_argument("--here", action="store_true", help="all stages in this process, without DVC")
    parser.add_argument("--force", action="store_true", help="run unchanged stages, too")
    parser.add_argument("--accept-shift", action="store_true", help="accept data unlike the last accepted data")
    parser.add_argument("--folds", type=int, default=training.folds, help="of the cross-validation")
    parser.add_argument("--repeats", type=int, default=training.repeats, help="of the cross-validation")
    parser.add_argument("--seed", type=int, default=training.seed, help="of everything random")
    parser.add_argument(
        "--candidates",
        nargs="+",
        choices=MODEL_NAMES,
        default=training.candidates,
        help="to choose from (training.models)",
    )
    parser.add_argument(
        "--budget-seconds", type=_not_negative, default=training.budget_seconds, help="for tuning; 0: none is tuned"
    )
    parser.add_argument("--trials", type=int, default=training.trials, help="so many, whatever the budget says")
    parser.add_argument("--jobs", type=int, default=training.jobs, help="processes; -1: one per core")
    given = parser.parse_args()
    settings = load_settings()
    training = msgspec.structs.replace(
        training,
        folds=given.folds,
        repeats=given.repeats,
        seed=given.seed,
        candidates=None if given.candidates is None else tuple(given.candidates),
        budget_seconds=given.budget_seconds,
        trials=given.trials,
        jobs=given.jobs,
    )
    options = RetrainOptions(given.trigger, by_dvc=not given.here, force=given.force, accept_shift=given.accept_shift)
    product = load_product(settings.product)
    if given.first is not None and (pin := model_in_service(settings, product, given.first)) is not None:
        log.info("version %s is in service: there is no first model to train", pin.version)
        return 0
    signer_of(settings)  # a model that nobody would take need not be trained
    result = retrain(settings, product, training, options, log.info)
    if result is not None:
        results.give(result)
    return 0


def _not_negative(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError("must be 0 or more seconds")
    return seconds


def run() -> int:
    """Run as a process of its own."""
    return run_job(JOB, main)
