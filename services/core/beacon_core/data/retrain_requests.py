"""Requests to retrain, as rows of the store: one cause asks once."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, func, insert, select

from beacon_core.data.tables import retrain_requests

WAITING, TAKEN = "waiting", "taken"
OPEN = (WAITING, TAKEN)


def subjects_of(connection: Connection, requested_by: str, model_version: str) -> set[str]:
    """What the requests of one sender about a model version were about, whatever became of them."""
    query = select(retrain_requests.c.details).where(retrain_requests.c.requested_by == requested_by)
    return {
        subject
        for details in connection.execute(query).scalars()
        if details and details.get("model_version") == model_version
        for subject in details.get("about", [])
    }


def open_cause(connection: Connection) -> str | None:
    """Return the cause of a request that waits or is taken; None where all have ended."""
    table = retrain_requests.c
    cause: str | None = connection.execute(select(table.cause).where(table.state.in_(OPEN)).limit(1)).scalar()
    return cause


def last_request_at(connection: Connection) -> datetime | None:
    """When the newest request was made, whoever made it."""
    newest: datetime | None = connection.execute(select(func.max(retrain_requests.c.created_at))).scalar()
    return newest


def waiting_causes(connection: Connection, requested_by: str) -> list[str]:
    """List the causes of one sender's requests that nobody has taken yet, the oldest first."""
    table = retrain_requests.c
    query = select(table.cause).where(table.requested_by == requested_by, table.state == WAITING)
    return list(connection.execute(query.order_by(table.id)).scalars())


def add(
    connection: Connection,
    cause: str,
    requested_by: str,
    reason: str,
    model_version: str,
    subjects: Sequence[str],
    now: datetime,
) -> None:
    """Add a request that waits to be taken."""
    row = {
        "cause": cause,
        "requested_by": requested_by,
        "reason": reason,
        "details": {"model_version": model_version, "about": list(subjects)},
        "created_at": now,
        "state": WAITING,
    }
    connection.execute(insert(retrain_requests).values(row))
