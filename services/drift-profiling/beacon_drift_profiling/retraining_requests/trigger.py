"""The trigger: a confirmed alarm that matters becomes one request to retrain. One cause asks once; not too often."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import Connection, func, select

from beacon_core.data.tables import retrain_requests
from beacon_core.domain.product import Product
from beacon_drift_profiling.assessment.results import Alarm

ASKED_BY = "drift"
WAITING = "waiting"
OPEN = (WAITING, "taken")
CAUSE_CHARACTERS = 255


class Asked(msgspec.Struct, frozen=True):
    """What became of the alarms: the cause of a new request, or why there is none."""

    cause: str | None
    why: str


def ask(connection: Connection, product: Product, version: str, alarms: Sequence[Alarm], now: datetime) -> Asked:
    """Write a request for what no earlier one of this model version was about.

    Not while another request is open, nor within the cooldown after the last one.
    """
    if not alarms:
        return Asked(None, "nothing that matters")
    table = retrain_requests.c
    mine = select(table.details).where(table.requested_by == ASKED_BY)
    known = {
        about
        for details in connection.execute(mine).scalars()
        if details and details.get("model_version") == version
        for about in details.get("about", [])
    }
    new = [alarm for alarm in alarms if alarm.about not in known]
    if not new:
        return Asked(None, "asked before")
    waiting = connection.execute(select(table.cause).where(table.state.in_(OPEN)).limit(1)).scalar()
    if waiting is not None:
        return Asked(None, f"a request is open: {waiting}")
    last = connection.execute(select(func.max(table.created_at))).scalar()
    pause = timedelta(hours=product.policy.retraining.cooldown_hours)
    if last is not None and now - last < pause:
        return Asked(None, f"the last request is less than {product.policy.retraining.cooldown_hours:g} hours old")
    about = [alarm.about for alarm in new]
    cause = f"{product.name}/{version}/{'+'.join(sorted(about))}"[:CAUSE_CHARACTERS]
    row = {
        "cause": cause,
        "requested_by": ASKED_BY,
        "reason": " ".join(alarm.reason for alarm in new),
        "details": {"model_version": version, "about": about},
        "created_at": now,
        "state": WAITING,
    }
    connection.execute(retrain_requests.insert().values(row))
    return Asked(cause, "asked")


def unanswered(connection: Connection) -> list[str]:
    """List the causes of our requests that nobody has taken yet, the oldest first."""
    table = retrain_requests.c
    query = select(table.cause).where(table.requested_by == ASKED_BY, table.state == WAITING).order_by(table.id)
    return list(connection.execute(query).scalars())
