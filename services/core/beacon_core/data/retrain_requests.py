"""The retrain requests in the store, and how they ended."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from beacon_core.data.tables import retrain_requests

WAITING, TAKEN, DONE, REFUSED = STATES = ("waiting", "taken", "done", "refused")


class RetrainRequest(NamedTuple):
    """One request for a new model, and what came of it."""

    id: int
    cause: str
    requested_by: str
    reason: str
    created_at: datetime
    state: str
    outcome: str | None


REQUEST = tuple(retrain_requests.c[name] for name in RetrainRequest._fields)


def newest(connection: Connection, most: int, state: str | None = None) -> list[RetrainRequest]:
    """List the newest requests, the newest first; in one state or in any."""
    query = select(*REQUEST).order_by(retrain_requests.c.id.desc()).limit(most)
    if state is not None:
        query = query.where(retrain_requests.c.state == state)
    return [RetrainRequest(*row) for row in connection.execute(query)]


def counts(connection: Connection) -> dict[str, int]:
    """Count the requests by state, with 0 for a state that none is in."""
    query = select(retrain_requests.c.state, func.count()).group_by(retrain_requests.c.state)
    return dict.fromkeys(STATES, 0) | dict(connection.execute(query).all())
