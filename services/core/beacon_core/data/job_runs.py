"""The record of a job's runs: one row per run and stage in the store, a span, and a log line when it ends."""

import contextlib
import logging
import time
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Engine, insert, update

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
