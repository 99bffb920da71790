"""A retraining, whole: one at a time, by DVC or in one process, with its end told and recorded."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import msgspec
from sqlalchemy import Engine

from beacon_core.data.database import migrate, open_store
from beacon_core.data.job_runs import recorded
from beacon_core.data.run_lock import only_one
from beacon_core.domain.exit_statuses import TRY_AGAIN
from beacon_core.domain.masking import message_of
from beacon_core.domain.product import Product
from beacon_core.platform import clock
from beacon_core.platform.job import status_of
from beacon_core.platform.settings import Settings
from beacon_retraining.errors import RetrainError
from beacon_retraining.pipeline import dvc, remote, triggers
from beacon_retraining.pipeline.context import REGISTERED, Registered
from beacon_retraining.pipeline.stages import FAILURE, JOB, PACKAGING, STAGES, Failure, read_failure, run_stage
from beacon_retraining.pipeline.workspace import Run, prepare
from beacon_retraining.training.settings import TrainSettings

Tell = Callable[[str], None]


class StageFailedError(RetrainError):
    """A stage failed in a process of its own; status and message are its own."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.stage}: {failure.message}")
        self.exit_status = failure.status


class Order(msgspec.Struct, frozen=True):
    """How to retrain: what started it, by DVC or not, all stages or the changed ones."""

    trigger: str = triggers.HAND
    by_dvc: bool = True
    force: bool = False
    accept_shift: bool = False


def retrain(
    settings: Settings, product: Product, training: TrainSettings, order: Order, tell: Tell
) -> Registered | None:
    """Retrain if it is due, and say what came of it; None when it is not due.

    Raises each stage's own error or `StageFailedError`, and `BusyError` while another run is at work.
    """
    engine = open_store(settings.database)
    migrate(engine)
    with only_one(engine, settings.home / "run", JOB, "another retraining is at work"):
        now = clock.now()
        causes = triggers.waiting(engine) if order.trigger == triggers.REQUESTS else []
        if reason := _not_due(engine, product, order, causes, now):
            tell(reason)
            return None
        run = Run(now.isoformat(), order.trigger, training.jobs, order.accept_shift)
        with triggers.answering(engine, causes, now, passes=lambda error: status_of(error) == TRY_AGAIN) as answer:
            with recorded(engine, JOB, run.period, triggers.WHOLE) as record:
                make = _by_dvc if order.by_dvc else _here
                done = make(settings, training, run, order, tell)
                record.details = {"trigger": order.trigger, "causes": causes} | msgspec.to_builtins(done)
            answer.append(f"version {done.version}: {done.verdict}")
        return done


def _not_due(engine: Engine, product: Product, order: Order, causes: list[str], now: datetime) -> str:
    """Why there is nothing to do now; empty when there is."""
    if order.trigger == triggers.HAND:
        return ""
    if order.trigger == triggers.REQUESTS and not causes:
        return "nobody has asked for a retraining"
    left = triggers.pause_left(engine, JOB, product, now).total_seconds() / 3600
    return f"the pause after the last retraining goes on for {left:.1f} h" if left > 0 else ""


def _here(settings: Settings, training: TrainSettings, run: Run, _order: Order, tell: Tell) -> Registered:
    """All stages in this process: DVC would double the time of a laptop's first start."""
    folder = prepare(settings, training, run)
    try:
        for name in STAGES:
            tell(run_stage(name, settings))
    except RetrainError as error:
        if not error.again:
            raise
        tell(f"again from {PACKAGING[0]}: {message_of(error)}")
        for name in PACKAGING:
            tell(run_stage(name, settings))
    return msgspec.json.decode((folder / REGISTERED).read_bytes(), type=Registered)


def _by_dvc(settings: Settings, training: TrainSettings, run: Run, order: Order, tell: Tell) -> Registered:
    """The changed stages, each in a process of its own; then the comparison with the last run, and the push."""
    folder = prepare(settings, training, run)
    failure = _reproduce(folder, force=order.force)
    if failure is not None and failure.again:
        tell(f"again from {PACKAGING[0]}: {failure.message}")
        failure = _reproduce(folder, force=False)
    if failure is not None:
        raise StageFailedError(failure)
    done = msgspec.json.decode((folder / REGISTERED).read_bytes(), type=Registered)
    if difference := dvc.compare(folder):
        tell(difference)
    dvc.commit(folder, f"version {done.version}: {done.verdict}")
    tell(remote.push(settings, folder))
    return done


def _reproduce(folder: Path, *, force: bool) -> Failure | None:
    """Let DVC run what has changed; how it failed, if it did."""
    (folder / FAILURE).unlink(missing_ok=True)
    if dvc.reproduce(folder, force=force):
        return None
    return read_failure(folder) or Failure("dvc", TRY_AGAIN, "was ended; its lines above say more")
