"""The jobs that run by the clock on a laptop: drift, then retraining if it was asked for, then the promotion.

On a cluster each is a CronJob. Here one process starts one after the other, and again when the hour is over; each job
ends with it. What a job finds is in its own records; a job that fails before it has any is recorded here.
"""

import signal
import sys
import time
from datetime import UTC, datetime
from typing import BinaryIO

from sqlalchemy import func, insert, select
from sqlalchemy.exc import SQLAlchemyError

from beacon_core.data.database import migrate, open_store
from beacon_core.data.job_runs import FAILED
from beacon_core.data.tables import job_runs
from beacon_core.domain.exit_statuses import TRY_AGAIN
from beacon_core.domain.masking import message_of
from beacon_core.platform import clock
from beacon_core.platform.settings import ROOT, Settings, load_settings
from beacon_laptop.processes import Process, promotion, training, variables
from beacon_laptop.retrain import ended
from beacon_laptop.supervision import popen
from beacon_laptop.terminal import say

FIRST_SECONDS = 60.0
"""A start has enough to do without the jobs, and nothing to compare yet."""


def jobs(arguments: tuple[str, ...] = ()) -> tuple[Process, ...]:
    """The jobs in the order in which they build on each other; `arguments` are further ones of the retraining.

    Processes below a job are not tied to it, so the retraining makes none.
    """
    drift = Process("drift", "drift-profiling", (str(ROOT / "jobs" / "drift.py"),))
    retraining = training(("--trigger", "requests", "--jobs", "1", *arguments))
    # The promoter may be at it already: this one waits until it knows what came of it.
    return (drift, retraining, promotion("run", "--wait", "180"))


def run_job(settings: Settings, job: Process, output: BinaryIO | None = None) -> int:
    """Run a job to its end; its exit status. A failure that left no record gets one."""
    begun = _newest(settings)
    started = clock.now()
    with ended(popen(job.command, variables(settings), output)) as process:
        status = process.wait()
    if status not in {0, TRY_AGAIN}:
        say(f"{job.name} ended with status {status}")
        _record(settings, job, begun, started, status)
    return status


def _newest(settings: Settings) -> int:
    """The number of the newest record of any job; 0 where there is none, or no store."""
    try:
        engine = open_store(settings.database)
        try:
            migrate(engine)
            with engine.connect() as connection:
                return connection.execute(select(func.max(job_runs.c.id))).scalar() or 0
        finally:
            engine.dispose()
    except (SQLAlchemyError, OSError):
        return 0


def _record(settings: Settings, job: Process, begun: int, started: datetime, status: int) -> None:
    failed = select(func.count()).where(job_runs.c.id > begun, job_runs.c.job == job.name, job_runs.c.state == FAILED)
    row = {
        "job": job.name,
        "period": started.astimezone(UTC).isoformat(),
        "stage": "start",
        "state": FAILED,
        "started_at": started,
        "ended_at": clock.now(),
        "error": f"ended with status {status}; its last lines are in {settings.home / 'logs' / 'schedule.log'}",
    }
    try:
        engine = open_store(settings.database)
        try:
            with engine.begin() as connection:
                if not connection.execute(failed).scalar():
                    connection.execute(insert(job_runs).values(row))
        finally:
            engine.dispose()
    except (SQLAlchemyError, OSError) as error:
        say(f"the failure of {job.name} cannot be recorded: {message_of(error)}")


def main() -> int:
    """Run the jobs for as long as this process lives."""
    settings = load_settings()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    time.sleep(min(FIRST_SECONDS, settings.drift_every_seconds))
    while True:
        began = time.monotonic()
        for job in jobs():
            run_job(settings, job)
        time.sleep(max(1.0, began + settings.drift_every_seconds - time.monotonic()))


if __name__ == "__main__":
    sys.exit(main())
