"""Triggers: whether a retraining is due, and the requests that drift profiling leaves in the store.

Only the holder of the run lock calls this: then a request that is still `taken` was taken by a run that died.
"""

import contextlib
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from beacon_core.data import job_runs, retrain_requests
from beacon_core.data.database import Engine
from beacon_core.data.retrain_requests import DONE, REFUSED
from beacon_core.domain.masking import message_of
from beacon_core.domain.product import Product
from beacon_core.platform import clock

HAND, SCHEDULE, REQUESTS = "hand", "schedule", "requests"
WHOLE_RUN = "run"
"""The stage under which a whole run is recorded in job_runs."""


def cooldown_left(engine: Engine, job: str, product: Product, now: datetime) -> timedelta:
    """How much of the cooldown after the last good run is left; zero or less: none."""
    with engine.connect() as connection:
        last = job_runs.last_done_at(connection, job, WHOLE_RUN)
    return timedelta(0) if last is None else last + timedelta(hours=product.policy.retraining.cooldown_hours) - now


def open_causes(engine: Engine) -> list[str]:
    """The causes of the requests that no run has answered, oldest first."""
    with engine.connect() as connection:
        return retrain_requests.open_causes(connection)


@contextlib.contextmanager
def answering(
    engine: Engine, causes: list[str], now: datetime, is_transient: Callable[[BaseException], bool]
) -> Iterator[list[str]]:
    """Take the requests for the length of the block: one run answers them all, with what is appended to the list.

    A transient failure leaves them waiting for the next run, as does the end of the process; another one ends them.
    """
    with engine.begin() as connection:
        retrain_requests.take(connection, causes, now)
    outcome: list[str] = []
    try:
        yield outcome
    except Exception as error:
        with engine.begin() as connection:
            if is_transient(error):
                retrain_requests.release(connection, causes, message_of(error))
            else:
                retrain_requests.end(connection, causes, REFUSED, message_of(error), clock.now())
        raise
    with engine.begin() as connection:
        retrain_requests.end(connection, causes, DONE, "; ".join(outcome), clock.now())
