"""The stages of a retraining, in order, and how one of them is run: `python -m beacon_retraining.pipeline.stages NAME`.

dvc.yaml runs each in a process of its own; `pipeline.retrain` can run the same functions in one process.
A stage that fails writes failure.json, from which the process that started DVC reads the reason.
"""

import importlib
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import msgspec

from beacon_core.data.database import migrate
from beacon_core.data.job_runs import recorded
from beacon_core.data.prediction_log.reading import open_log
from beacon_core.domain.masking import message_of
from beacon_core.platform.engine import LOCAL, open_engine
from beacon_core.platform.job import log, run_job, status_of
from beacon_core.platform.locks import exclusive
from beacon_core.platform.product_file import load_product
from beacon_core.platform.progress import Progress
from beacon_core.platform.settings import Settings, load_settings
from beacon_retraining.files import write_json
from beacon_retraining.pipeline.collector import collect_rarely
from beacon_retraining.pipeline.context import Context
from beacon_retraining.pipeline.workspace import folder_of, read_run, read_training

JOB = "retrain"
FAILURE = "failure.json"

STAGES = {
    "fetch": "data_stages:fetch_all",
    "validate": "data_stages:validate_all",
    "features": "feature_stage:build_features",
    "train": "train_stage:train_model",
    "package": "package_stage:package_model",
    "evaluate": "evaluate_stage:evaluate_model",
    "register": "register_stage:register_model",
}
"""Module and function of each stage; a module is imported when its stage runs, as Feast and MLflow take seconds."""

READ_LOG = {"fetch"}
"""The stages that read the prediction log: an engine starts for them alone."""
PACKAGING = ("package", "evaluate", "register")
"""The stages that run again when the registry gave another version number."""


class StageFailure(msgspec.Struct, frozen=True):
    """failure.json: the stage, the exit status, the reason, and whether to retry at once."""

    stage: str
    status: int
    message: str
    again: bool = False


def run_stage(name: str, settings: Settings) -> str:
    """Run one stage of the prepared workspace, recorded in the store; returns a line for the log."""
    folder = folder_of(settings)
    start = time.monotonic()
    Progress(name, len(STAGES), "stages", list(STAGES).index(name))
    # A killed run may have left a stage running: two never write at once.
    with (
        exclusive(folder / ".stage.lock", "another retraining is at work"),
        open_engine(settings, JOB) if name in READ_LOG else nullcontext(LOCAL) as jobs,
    ):
        engine = open_log(settings, jobs=jobs)
        migrate(engine)
        run = read_run(folder)
        context = Context(settings, load_product(settings.product), engine, folder, read_training(folder), run)
        with recorded(engine, JOB, run.period, name):
            note = _function(name)(context)
    return f"{name:<9} {note} ({time.monotonic() - start:.1f} s)"


def _function(name: str) -> Callable[[Context], str]:
    module, function = STAGES[name].split(":")
    found: Callable[[Context], str] = getattr(importlib.import_module(f"beacon_retraining.pipeline.{module}"), function)
    return found


def read_failure(folder: Path) -> StageFailure | None:
    """The failure that the last failed stage wrote, or None."""
    file = folder / FAILURE
    return msgspec.json.decode(file.read_bytes(), type=StageFailure) if file.is_file() else None


def main(name: str) -> int:
    """Run one stage; `failure.json` and the exit status report a failure."""
    settings = load_settings()
    try:
        line = run_stage(name, settings)
    except Exception as error:
        if (status := status_of(error)) is None:
            raise
        failure = StageFailure(name, status, message_of(error), getattr(error, "again", False))
        try:
            write_json(folder_of(settings) / FAILURE, failure)
        except OSError:  # a full disk takes no file: then the log has it
            log.error("%s failed: %s", name, message_of(error))
        return failure.status
    log.info(line)
    return 0


if __name__ == "__main__":
    collect_rarely()
    sys.exit(run_job(JOB, lambda: main(sys.argv[1])))
