"""The scheduled jobs of a laptop: drift, then retraining if it is requested, then promotion, then retention.

On a cluster each is a CronJob. Here one process starts them one after the other, each hour; a job ends with this
process. Jobs record their own runs; the failure of a job that recorded none is recorded here.
"""

import signal
import sys
import time
from datetime import datetime
from typing import BinaryIO

from beacon_core.data import job_runs
from beacon_core.data.client import DatabaseClient
from beacon_core.data.database import DatabaseUnavailableError
from beacon_core.domain.exit_statuses import TRY_AGAIN
from beacon_core.domain.masking import message_of
from beacon_core.platform import clock
from beacon_core.platform.settings import ROOT, Settings, load_settings
from beacon_laptop.processes import Process, on_engine, promotion, training, variables
from beacon_laptop.reporter import report
from beacon_laptop.supervision import popen, terminating

FIRST_SECONDS = 60.0
"""Wait before the first run: the services start first, and there is nothing to compare yet."""


def jobs(settings: Settings, arguments: tuple[str, ...] = ()) -> tuple[Process, ...]:
    """The jobs in the order in which they build on each other; `arguments` are further ones of the retraining.

    Processes below a job are not tied to it, so the retraining makes none.
    """
    drift = Process("drift", on_engine(settings, "drift-profiling"), (str(ROOT / "jobs" / "drift.py"),))
    retraining = training(settings, ("--trigger", "requests", "--jobs", "1", *arguments))
    # The promoter may hold the lock already: this run waits for it.
    retention = Process("expire", "retraining", (str(ROOT / "jobs" / "expire.py"),))
    return (drift, retraining, promotion("run", "--wait", "180"), retention)


def run_job(settings: Settings, job: Process, output: BinaryIO | None = None) -> int:
    """Run a job to its end and return its exit status; record a failure that the job did not record."""
    database = DatabaseClient(settings.database)
    try:
        before = _newest_number(database)
        started_at = clock.now()
        with terminating(popen(job.command, variables(settings), output)) as process:
            status = process.wait()
        if status not in {0, TRY_AGAIN}:
            report(f"{job.name} ended with status {status}")
            log = settings.home / "logs" / "schedule.log"
            error = f"ended with status {status}; its last lines are in {log}"
            _record_failure(database, job.name, before, started_at, error)
    finally:
        database.close()
    return status


def _newest_number(database: DatabaseClient) -> int:
    """The number of the newest record of any job; 0 without one, or without a database."""
    try:
        with database.connect() as connection:
            return job_runs.newest_number(connection)
    except DatabaseUnavailableError:
        return 0


def _record_failure(database: DatabaseClient, job: str, before: int, started_at: datetime, error: str) -> None:
    try:
        with database.begin() as connection:
            if not job_runs.has_failed(connection, job, before):
                job_runs.add_failure(connection, job, "start", started_at, error)
    except DatabaseUnavailableError as reason:
        report(f"the failure of {job} cannot be recorded: {message_of(reason)}")


def main() -> int:
    """Run the jobs for as long as this process lives."""
    settings = load_settings()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    time.sleep(min(FIRST_SECONDS, settings.drift_every_seconds))
    own_jobs = jobs(settings)
    while True:
        began = time.monotonic()
        for job in own_jobs:
            run_job(settings, job)
        time.sleep(max(1.0, began + settings.drift_every_seconds - time.monotonic()))


if __name__ == "__main__":
    sys.exit(main())
