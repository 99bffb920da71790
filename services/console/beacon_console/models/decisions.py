"""Verdicts, people's decisions and requests to retrain: what the gate said, what is asked, and the answer."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select

from beacon_core.data.approvals import PASS
from beacon_core.data.tables import approvals, retrain_requests, verdicts
from beacon_core.domain.product import Product

MANUAL = "manual"
OUTCOMES = (PASS, "inconclusive", "fail")
REQUEST_STATES = ("waiting", "taken", "done", "refused")
RECENT = 5


class RetrainRequest(NamedTuple):
    """A wish for a new model, and what came of it."""

    id: int
    cause: str
    requested_by: str
    reason: str
    created_at: datetime
    state: str
    outcome: str | None


class Verdict(NamedTuple):
    """What the gate said of a model version; `verdict` is the whole of it."""

    id: int
    moment: datetime
    version: str
    sha256: str
    champion_version: str | None
    outcome: str
    verdict: dict[str, Any]

    @property
    def reason(self) -> str:
        """One sentence, in the gate's words."""
        return str(self.verdict.get("reason", ""))


class Decision(NamedTuple):
    """A person's word on a model version."""

    id: int
    decided_at: datetime
    version: str
    sha256: str
    decision: str
    person: str
    reason: str


REQUEST = tuple(retrain_requests.c[name] for name in RetrainRequest._fields)
VERDICT = tuple(verdicts.c[name] for name in Verdict._fields)
DECISION = tuple(approvals.c[name] for name in Decision._fields)


def requests_of(connection: Connection, most: int = RECENT) -> list[RetrainRequest]:
    """List the newest requests to retrain."""
    query = select(*REQUEST).order_by(retrain_requests.c.id.desc()).limit(most)
    return [RetrainRequest(*row) for row in connection.execute(query)]


def request_counts(connection: Connection) -> dict[str, int]:
    """Count the requests to retrain by state; there may be none of it."""
    query = select(retrain_requests.c.state, func.count()).group_by(retrain_requests.c.state)
    return dict.fromkeys(REQUEST_STATES, 0) | dict(connection.execute(query).all())


def verdicts_of(connection: Connection, product: Product, version: str | None = None) -> list[Verdict]:
    """List the newest verdicts, the newest first; of one version or of all."""
    query = select(*VERDICT).where(verdicts.c.product == product.name)
    if version is not None:
        query = query.where(verdicts.c.version == version)
    found = connection.execute(query.order_by(verdicts.c.id.desc()).limit(RECENT))
    return [Verdict(*row) for row in found]


def decisions_of(connection: Connection, sha256: Sequence[str]) -> list[Decision]:
    """List what people decided on these packages, the newest first."""
    query = select(*DECISION).where(approvals.c.sha256.in_(sha256)).order_by(approvals.c.id.desc())
    return [Decision(*row) for row in connection.execute(query)]


def waiting(connection: Connection, product: Product, newest: Sequence[Verdict]) -> list[Verdict]:
    """Of the newest verdicts, the last one when it passed and the product leaves the last word to a person.

    An older one is overtaken: its challenger was measured against a champion and data of the past.
    """
    if product.policy.promotion.mode != MANUAL or not newest or newest[0].outcome != PASS:
        return []
    return [] if decisions_of(connection, [newest[0].sha256]) else [newest[0]]
