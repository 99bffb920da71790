"""Triggers: whether a retraining is due, and the requests that drift leaves in the store.

To be called by the holder of the one lock: then a request that is still `taken` was taken by a run that died.
"""

import contextlib
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from sqlalchemy import Engine, func, select, update

from beacon_core.data.job_runs import DONE
from beacon_core.data.tables import job_runs, retrain_requests
from beacon_core.domain.masking import message_of
from beacon_core.domain.product import Product
from beacon_core.platform import clock

HAND, SCHEDULE, REQUESTS = "hand", "schedule", "requests"
WAITING, TAKEN, ANSWERED, REFUSED = "waiting", "taken", "done", "refused"
WHOLE = "run"
"""The stage under which a whole run is recorded in job_runs."""


def pause_left(engine: Engine, job: str, product: Product, now: datetime) -> timedelta:
    """How much of the pause after the last good run is left; zero or less: none."""
    query = select(func.max(job_runs.c.ended_at)).where(
        job_runs.c.job == job, job_runs.c.stage == WHOLE, job_runs.c.state == DONE
    )
    with engine.connect() as connection:
        last: datetime | None = connection.execute(query).scalar()
    return timedelta(0) if last is None else last + timedelta(hours=product.policy.retraining.cooldown_hours) - now


def waiting(engine: Engine) -> list[str]:
    """The causes of the requests that nobody has answered, oldest first."""
    table = retrain_requests.c
    query = select(table.cause).where(table.state.in_([WAITING, TAKEN])).order_by(table.id)
    with engine.connect() as connection:
        return list(connection.execute(query).scalars())


@contextlib.contextmanager
def answering(
    engine: Engine, causes: list[str], now: datetime, passes: Callable[[BaseException], bool]
) -> Iterator[list[str]]:
    """Take the requests for the length of the block: one run answers them all, with what is appended to the list.

    A failure that `passes` leaves them waiting for the next run, as does the end of the process; another one ends them.
    """
    _move(engine, causes, (WAITING, TAKEN), state=TAKEN, taken_at=now)
    answer: list[str] = []
    try:
        yield answer
    except Exception as error:
        again = passes(error)
        state, ended = (WAITING, None) if again else (REFUSED, clock.now())
        _move(engine, causes, (TAKEN,), state=state, ended_at=ended, outcome=message_of(error))
        raise
    _move(engine, causes, (TAKEN,), state=ANSWERED, ended_at=clock.now(), outcome="; ".join(answer))


def _move(engine: Engine, causes: list[str], states: tuple[str, ...], **values: object) -> None:
    table = retrain_requests
    with engine.begin() as connection:
        connection.execute(update(table).where(table.c.cause.in_(causes), table.c.state.in_(states)).values(values))
