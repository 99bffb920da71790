"""A whole retraining: one at a time, by DVC or in one process, reported and recorded."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import msgspec

from beacon_core.data.database import Engine, migrate
from beacon_core.data.job_runs import recorded
from beacon_core.data.prediction_log.reading import open_log
from beacon_core.data.run_lock import only_one
from beacon_core.domain.exit_statuses import TRY_AGAIN
from beacon_core.domain.masking import message_of
from beacon_core.domain.product import Product
from beacon_core.platform import clock
from beacon_core.platform.job import status_of
from beacon_core.platform.settings import Settings
from beacon_retraining.errors import RetrainError
from beacon_retraining.pipeline import dvc, remote, triggers
from beacon_retraining.pipeline.context import REGISTERED, RegistrationResult
from beacon_retraining.pipeline.stages import FAILURE, JOB, PACKAGING, STAGES, StageFailure, read_failure, run_stage
from beacon_retraining.pipeline.workspace import Run, prepare
from beacon_retraining.training.entry_point.code import TrainingCode, entry_point_of
from beacon_retraining.training.settings import TrainSettings

NO_REQUEST = "there is no request to retrain"
Reporter = Callable[[str], None]


class StageFailedError(RetrainError):
    """A stage failed in a process of its own; status and message are its own."""

    def __init__(self, failure: StageFailure) -> None:
        super().__init__(f"{failure.stage}: {failure.message}")
        self.exit_status = failure.status


class RetrainOptions(msgspec.Struct, frozen=True):
    """How to retrain: what started it, by DVC or not, all stages or the changed ones."""

    trigger: str = triggers.HAND
    by_dvc: bool = True
    force: bool = False
    accept_shift: bool = False


def retrain(
    settings: Settings, product: Product, training: TrainSettings, options: RetrainOptions, report: Reporter
) -> RegistrationResult | None:
    """Retrain if it is due, and report the result; None when it is not due.

    Raises each stage's own error or `StageFailedError`, and `BusyError` while another run is at work.
    """
    engine = open_log(settings)
    migrate(engine)
    # Before the lock: a look for requests does not fail because a retraining is at work.
    if options.trigger == triggers.REQUESTS and not triggers.open_causes(engine):
        report(NO_REQUEST)
        return None
    with only_one(engine, settings.home / "run", JOB, "another retraining is at work"):
        now = clock.now()
        causes = triggers.open_causes(engine) if options.trigger == triggers.REQUESTS else []
        if reason := _not_due(engine, product, options, causes, now):
            report(reason)
            return None
        entry_point = entry_point_of(product)
        if entry_point is not None:
            from beacon_retraining.pipeline.preflight import check_entry_point  # noqa: PLC0415 - it takes seconds

            check_entry_point(entry_point, product, training)
        run = Run(now.isoformat(), options.trigger, training.jobs, options.accept_shift)
        with triggers.answering(engine, causes, now, _is_transient) as outcome:
            with recorded(engine, JOB, run.period, triggers.WHOLE_RUN) as record:
                run_stages = _by_dvc if options.by_dvc else _in_process
                result = run_stages(settings, training, run, entry_point, options, report)
                record.details = {"trigger": options.trigger, "causes": causes} | msgspec.to_builtins(result)
            outcome.append(f"version {result.version}: {result.verdict}")
        return result


def _is_transient(error: BaseException) -> bool:
    return status_of(error) == TRY_AGAIN


def _not_due(engine: Engine, product: Product, options: RetrainOptions, causes: list[str], now: datetime) -> str:
    """Why there is nothing to do now; empty when there is."""
    if options.trigger == triggers.HAND:
        return ""
    if options.trigger == triggers.REQUESTS and not causes:
        return NO_REQUEST
    left = triggers.cooldown_left(engine, JOB, product, now).total_seconds() / 3600
    return f"the cooldown after the last retraining ends in {left:.1f} h" if left > 0 else ""


def _in_process(
    settings: Settings,
    training: TrainSettings,
    run: Run,
    entry_point: TrainingCode | None,
    _options: RetrainOptions,
    report: Reporter,
) -> RegistrationResult:
    """All stages in this process: DVC would double the time of a laptop's first start."""
    folder = prepare(settings, training, run, entry_point)
    try:
        for name in STAGES:
            report(run_stage(name, settings))
    except RetrainError as error:
        if not error.again:
            raise
        report(f"again from {PACKAGING[0]}: {message_of(error)}")
        for name in PACKAGING:
            report(run_stage(name, settings))
    return msgspec.json.decode((folder / REGISTERED).read_bytes(), type=RegistrationResult)


def _by_dvc(
    settings: Settings,
    training: TrainSettings,
    run: Run,
    entry_point: TrainingCode | None,
    options: RetrainOptions,
    report: Reporter,
) -> RegistrationResult:
    """The changed stages, each in a process of its own; then the comparison with the last run, and the push."""
    folder = prepare(settings, training, run, entry_point)
    if line := remote.resume(settings, folder):
        report(line)
    failure = _reproduce(folder, force=options.force)
    if failure is not None and failure.again:
        report(f"again from {PACKAGING[0]}: {failure.message}")
        failure = _reproduce(folder, force=False)
    if failure is not None:
        raise StageFailedError(failure)
    result = msgspec.json.decode((folder / REGISTERED).read_bytes(), type=RegistrationResult)
    if difference := dvc.compare(folder):
        report(difference)
    dvc.commit(folder, f"version {result.version}: {result.verdict}")
    report(remote.push(settings, folder))
    return result


def _reproduce(folder: Path, *, force: bool) -> StageFailure | None:
    """Let DVC run the changed stages; returns the failure, if any."""
    (folder / FAILURE).unlink(missing_ok=True)
    if dvc.reproduce(folder, force=force):
        return None
    return read_failure(folder) or StageFailure("dvc", TRY_AGAIN, "ended without a reason; see its lines above")
