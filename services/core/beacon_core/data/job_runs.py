"""The runs of jobs: one row per run and stage in the store, with a span, and a log line when it ends."""

import contextlib
import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, and_, func, insert, or_, select, update

from beacon_core.data.tables import job_runs
from beacon_core.domain.masking import message_with_type
from beacon_core.observability import logs
from beacon_core.observability.tracing import span
from beacon_core.platform import clock

RUNNING, DONE, FAILED = "running", "done", "failed"


class Run:
    """What a run reports while it goes on; recorded when it ends."""

    def __init__(self) -> None:
        self.rows: int | None = None
        self.details: dict[str, Any] | None = None


@contextlib.contextmanager
def recorded(engine: Engine, job: str, period: str, stage: str) -> Iterator[Run]:
    """Record the block as one run: `running` from the start, so that a killed run is seen, then `done` or `failed`."""
    begun = {"job": job, "period": period, "stage": stage, "state": RUNNING, "started_at": clock.now()}
    with engine.begin() as connection:
        (number,) = connection.execute(insert(job_runs).values(begun)).inserted_primary_key or (None,)
    run, moment = Run(), time.monotonic()
    outcome: dict[str, Any] = {"state": FAILED}
    about = {"job": job, "stage": stage, "period": period}
    try:
        with span(stage, {f"beacon.{name}": text for name, text in about.items()}):
            yield run
        outcome = {"state": DONE}
    except BaseException as error:
        outcome["error"] = message_with_type(error)
        raise
    finally:
        level = logging.INFO if outcome["state"] == DONE else logging.WARNING
        seconds = round(time.monotonic() - moment, 3)
        logs.steps.log(level, "stage ended", extra=about | outcome | {"seconds": seconds, "rows": run.rows})
        outcome |= {"ended_at": clock.now(), "rows": run.rows, "details": run.details}
        with engine.begin() as connection:
            connection.execute(update(job_runs).where(job_runs.c.id == number).values(outcome))


def last_done_at(connection: Connection, job: str, stage: str) -> datetime | None:
    """When the newest successful run of a stage ended."""
    table = job_runs.c
    query = select(func.max(table.ended_at)).where(table.job == job, table.stage == stage, table.state == DONE)
    last: datetime | None = connection.execute(query).scalar()
    return last


class JobStage(NamedTuple):
    """One row of job_runs: a stage of one run."""

    id: int
    job: str
    period: str
    stage: str
    state: str
    started_at: datetime
    ended_at: datetime | None
    rows: int | None
    details: dict[str, Any] | None
    error: str | None

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it runs, or when it was killed."""
        return None if self.ended_at is None else (self.ended_at - self.started_at).total_seconds()


class JobStatus(NamedTuple):
    """A job: its newest stage, its newest success, and how many stages ever ended and failed."""

    name: str
    newest: JobStage
    succeeded_at: datetime | None
    ended: int
    failures: int
    stages: tuple[JobStage, ...]
    """The newest row of each stage, in the order of their beginning."""

    @property
    def seconds(self) -> float | None:
        """How long the newest run took, from its first stage to its last; None while it runs."""
        run = [stage for stage in self.stages if stage.period == self.newest.period]
        if self.newest.ended_at is None:
            return None
        return (self.newest.ended_at - min(stage.started_at for stage in run)).total_seconds()


STAGE = tuple(job_runs.c[name] for name in JobStage._fields)


def statuses(connection: Connection) -> list[JobStatus]:
    """Describe every job that ever ran, by name."""
    columns = job_runs.c
    totals = connection.execute(
        select(
            columns.job,
            func.max(columns.id).filter(columns.state == DONE),
            func.count(columns.ended_at),
            func.count().filter(columns.state == FAILED),
        ).group_by(columns.job)
    )
    stages = _newest_stages(connection)
    described = []
    for name, success, ended, failures in totals:
        own = tuple(sorted((stage for stage in stages if stage.job == name), key=lambda stage: stage.id))
        succeeded = connection.scalar(select(columns.ended_at).where(columns.id == success))
        described.append(JobStatus(name, own[-1], succeeded, ended, failures, own))
    return sorted(described, key=lambda job: job.name)


def _newest_stages(connection: Connection) -> list[JobStage]:
    newest = select(func.max(job_runs.c.id)).group_by(job_runs.c.job, job_runs.c.stage)
    return [JobStage(*row) for row in connection.execute(select(*STAGE).where(job_runs.c.id.in_(newest)))]


def newest_stages(connection: Connection, most: int, job: str | None = None) -> list[JobStage]:
    """List the newest rows, the newest first; of one job or of all."""
    query = select(*STAGE).order_by(job_runs.c.id.desc()).limit(most)
    if job is not None:
        query = query.where(job_runs.c.job == job)
    return [JobStage(*row) for row in connection.execute(query)]


def run_of(connection: Connection, number: int) -> tuple[JobStage, list[JobStage]] | None:
    """Find one row, and all stages of its run (equal job and period); None when there is none."""
    columns = job_runs.c
    row = connection.execute(select(*STAGE).where(columns.id == number)).first()
    if row is None:
        return None
    found = JobStage(*row)
    same = and_(columns.job == found.job, columns.period == found.period)
    whole = connection.execute(select(*STAGE).where(or_(same, columns.id == number)).order_by(columns.id))
    return found, [JobStage(*other) for other in whole]


def newest_number(connection: Connection) -> int:
    """The number of the newest row; 0 where there is none."""
    return connection.scalar(select(func.max(job_runs.c.id))) or 0


def has_failed(connection: Connection, job: str, after: int) -> bool:
    """Whether a row of the job with a number above `after` says that it failed."""
    failed = select(func.count()).where(job_runs.c.id > after, job_runs.c.job == job, job_runs.c.state == FAILED)
    return bool(connection.scalar(failed))


def add_failure(connection: Connection, job: str, stage: str, started_at: datetime, error: str) -> None:
    """Record a failure of a job that ended before it recorded anything itself."""
    period = started_at.astimezone(UTC).isoformat()
    row: dict[str, Any] = {"job": job, "period": period, "stage": stage, "state": FAILED}
    row |= {"started_at": started_at, "ended_at": clock.now(), "error": error}
    connection.execute(insert(job_runs).values(row))
