"""Approvals: a person's word on a model version, kept for ever; the newest one of a package counts."""

from sqlalchemy import Engine, insert, select

from beacon_core import clock
from beacon_core.product import Product
from beacon_core.store import approvals
from beacon_retrain import verdict
from beacon_retrain.errors import RetrainError

APPROVED, REJECTED = "approved", "rejected"
LONGEST_PERSON = 64


class DecisionError(RetrainError):
    """There is nothing to decide, or the decision does not say who or why."""


def decide(engine: Engine, product: Product, version: str, decision: str, person: str, reason: str) -> bool:
    """Write the decision on the package that the newest verdict is about; False when the newest one is the same.

    Raises `DecisionError`: approving takes a verdict that passed, rejecting takes any, and both a person and a reason.
    """
    if not version:
        raise DecisionError("version: is missing (VERSION=)")
    if not person.strip() or len(person) > LONGEST_PERSON:
        raise DecisionError(f"person: must have 1 to {LONGEST_PERSON} characters")
    if not reason.strip():
        raise DecisionError('reason: is missing (REASON="...")')
    said = verdict.newest(engine, product.name, version)
    if said is None:
        raise DecisionError(f"version {version}: has no verdict")
    if decision == APPROVED and said.outcome != "pass":
        raise DecisionError(f"version {version}: its verdict is {said.outcome} ({said.reason})")
    sha256 = said.challenger.sha256
    if newest(engine, sha256) == decision:
        return False
    row = {"product": product.name, "version": version, "sha256": sha256, "decision": decision}
    row |= {"person": person.strip(), "reason": reason.strip()}
    with engine.begin() as connection:
        connection.execute(insert(approvals).values(row | {"decided_at": clock.now()}))
    return True


def newest(engine: Engine, sha256: str) -> str | None:
    """What was last decided on a package, or None."""
    query = select(approvals.c.decision).where(approvals.c.sha256 == sha256).order_by(approvals.c.id.desc()).limit(1)
    with engine.connect() as connection:
        found: str | None = connection.execute(query).scalar()
    return found
