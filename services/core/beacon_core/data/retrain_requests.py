"""Requests to retrain, as rows of the store: one per cause, and one run answers all that are open."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, insert, literal, select, update

from beacon_core.data.approvals import check_line
from beacon_core.data.tables import retrain_requests
from beacon_core.domain.errors import BeaconError

WAITING, TAKEN, DONE, REFUSED = STATES = ("waiting", "taken", "done", "refused")
OPEN = (WAITING, TAKEN)


class RetrainRequest(NamedTuple):
    """One request for a new model, and what came of it."""

    id: int
    cause: str
    requested_by: str
    reason: str
    created_at: datetime
    state: str
    outcome: str | None


def subjects_of(connection: Connection, requested_by: str, model_version: str) -> set[str]:
    """The subjects of one sender's requests about a model version, whatever their state."""
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


def open_causes(connection: Connection) -> list[str]:
    """List the causes of all requests that wait or are taken, the oldest first."""
    table = retrain_requests.c
    query = select(table.cause).where(table.state.in_(OPEN)).order_by(table.id)
    return list(connection.execute(query).scalars())


def last_request_at(connection: Connection) -> datetime | None:
    """When the newest request was made, whoever made it."""
    newest: datetime | None = connection.execute(select(func.max(retrain_requests.c.created_at))).scalar()
    return newest


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
    connection.execute(insert(retrain_requests).values(_row(cause, requested_by, reason, model_version, subjects, now)))


def ask(connection: Connection, product: str, person: str, reason: str, now: datetime) -> None:
    """Add a person's request, whatever the cooldown after the last one.

    Raises `BeaconError`: invalid_body, and retraining_requested while another request is open, which one run answers
    as well.
    """
    person, reason = check_line("person", person), check_line("reason", reason)
    row = _row(f"{product}/{person}/{now.isoformat()}", person, reason, "", (), now)
    table = retrain_requests.c
    is_open = select(table.id).where(table.state.in_(OPEN)).exists()
    values = select(*(literal(value, table[name].type) for name, value in row.items())).where(~is_open)
    if connection.execute(insert(retrain_requests).from_select(list(row), values)).rowcount == 0:
        raise BeaconError("retraining_requested", f"A retraining is requested already: {open_cause(connection)}.")


def _row(
    cause: str, requested_by: str, reason: str, model_version: str, subjects: Sequence[str], now: datetime
) -> dict[str, Any]:
    return {
        "cause": cause,
        "requested_by": requested_by,
        "reason": reason,
        "details": {"model_version": model_version, "about": list(subjects)},
        "created_at": now,
        "state": WAITING,
    }


def take(connection: Connection, causes: Sequence[str], now: datetime) -> None:
    """Mark open requests as taken by a run that begins now."""
    _move(connection, causes, OPEN, state=TAKEN, taken_at=now)


def release(connection: Connection, causes: Sequence[str], outcome: str) -> None:
    """Let taken requests wait for the next run; `outcome` says why this one did not answer them."""
    _move(connection, causes, (TAKEN,), state=WAITING, ended_at=None, outcome=outcome)


def end(connection: Connection, causes: Sequence[str], state: str, outcome: str, now: datetime) -> None:
    """End taken requests as `DONE` or `REFUSED`."""
    _move(connection, causes, (TAKEN,), state=state, ended_at=now, outcome=outcome)


def _move(connection: Connection, causes: Sequence[str], states: Sequence[str], **values: object) -> None:
    table = retrain_requests
    connection.execute(update(table).where(table.c.cause.in_(causes), table.c.state.in_(states)).values(values))


def newest(connection: Connection, most: int, state: str | None = None) -> list[RetrainRequest]:
    """List the newest requests, the newest first; in one state or in any."""
    columns = [retrain_requests.c[name] for name in RetrainRequest._fields]
    query = select(*columns).order_by(retrain_requests.c.id.desc()).limit(most)
    if state is not None:
        query = query.where(retrain_requests.c.state == state)
    return [RetrainRequest(*row) for row in connection.execute(query)]


def counts(connection: Connection) -> dict[str, int]:
    """Count the requests by state, with 0 for a state without any."""
    query = select(retrain_requests.c.state, func.count()).group_by(retrain_requests.c.state)
    return dict.fromkeys(STATES, 0) | dict(connection.execute(query).all())
