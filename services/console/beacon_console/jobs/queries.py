"""Job runs as people ask for them: how each job stands, one run with its stages, and the newest runs."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, RowMapping, and_, func, or_, select

from beacon_core.data.job_runs import DONE, FAILED, RUNNING
from beacon_core.data.tables import job_runs

RECENT = 100
"""Runs shown on the list of a job's runs."""


class Stage(NamedTuple):
    """One row of job_runs."""

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


class Job(NamedTuple):
    """How a job stands: its newest stage, the newest run that got through, and how many ever ended and failed."""

    name: str
    newest: Stage
    succeeded_at: datetime | None
    ended: int
    failures: int
    stages: tuple[Stage, ...]
    """The newest row of each stage, in the order of their beginning."""

    @property
    def seconds(self) -> float | None:
        """How long the newest run took, from its first stage to its last; None while it runs."""
        run = [stage for stage in self.stages if stage.period == self.newest.period]
        if self.newest.ended_at is None:
            return None
        return (self.newest.ended_at - min(stage.started_at for stage in run)).total_seconds()


def jobs_of(connection: Connection) -> list[Job]:
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
    for name, success, finished, failures in totals:
        mine = sorted((stage for stage in stages if stage.job == name), key=lambda stage: stage.id)
        ended = None if success is None else connection.execute(select(columns.ended_at).where(columns.id == success))
        described.append(
            Job(name, mine[-1], None if ended is None else ended.scalar(), finished, failures, tuple(mine))
        )
    return sorted(described)


def _newest_stages(connection: Connection) -> list[Stage]:
    newest = select(func.max(job_runs.c.id)).group_by(job_runs.c.job, job_runs.c.stage)
    return [_stage(row) for row in connection.execute(select(job_runs).where(job_runs.c.id.in_(newest))).mappings()]


def runs_of(connection: Connection, job: str | None = None) -> list[Stage]:
    """List the newest rows, of one job or of all."""
    query = select(job_runs).order_by(job_runs.c.id.desc()).limit(RECENT)
    if job is not None:
        query = query.where(job_runs.c.job == job)
    return [_stage(row) for row in connection.execute(query).mappings()]


def run_of(connection: Connection, number: int) -> tuple[Stage, list[Stage]] | None:
    """Find one row, and all the stages of its run (equal job and period); None when there is none."""
    columns = job_runs.c
    row = connection.execute(select(job_runs).where(columns.id == number)).mappings().first()
    if row is None:
        return None
    same = and_(columns.job == row["job"], columns.period == row["period"])
    whole = connection.execute(select(job_runs).where(or_(same, columns.id == number)).order_by(columns.id)).mappings()
    return _stage(row), [_stage(other) for other in whole]


def _stage(row: RowMapping) -> Stage:
    return Stage(**row)


def slow(stages: Sequence[Stage], now: datetime, seconds: float) -> list[Stage]:
    """Stages that began more than `seconds` ago and have not ended: killed, or stuck."""
    return [stage for stage in stages if stage.state == RUNNING and (now - stage.started_at).total_seconds() > seconds]
