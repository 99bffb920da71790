"""Which model is to be promoted: the newest verdict's, when it passed and nobody rejected it."""

from datetime import datetime

import msgspec
from sqlalchemy import Connection, select

from beacon_core.data import approvals, ledger
from beacon_core.data.tables import approvals as decisions
from beacon_core.data.tables import verdicts
from beacon_core.domain.ledger_entries import Entry
from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product

MANUAL = "manual"
AGAIN = frozenset({"interrupted", "target_down", "package_missing"})
"""Ends that say nothing of the model: it is tried again."""


class NoCandidateError(Exception):
    """Nothing is to be promoted; the message says why. `asked` and refused: somebody named a version."""


class Candidate(msgspec.Struct, frozen=True):
    """A model that may be promoted: the number and the words of its verdict, and who approved it, if anybody."""

    pin: Pin
    verdict: int
    reason: str
    approved_by: str | None


def choose(connection: Connection, product: Product, serving: Pin | None, version: str = "") -> Candidate:
    """The candidate, or the `version` that a person asks for; raises `NoCandidateError`.

    A person may try again what was kept out before, but not past the gate and not past a rejection.
    """
    query = select(verdicts).where(verdicts.c.product == product.name).order_by(verdicts.c.id.desc()).limit(1)
    if version:
        query = query.where(verdicts.c.version == version)
    found = connection.execute(query).first()
    if found is None:
        raise NoCandidateError(f"version {version} has no verdict" if version else "there is no verdict yet")
    pin = Pin(product.name, found.version, found.sha256)
    name = f"version {pin.version}"
    if serving is not None and pin == serving:
        raise NoCandidateError(
            f"{name}, the newest with a verdict, serves already" if not version else f"{name} serves already"
        )
    if found.outcome != approvals.PASS:
        raise NoCandidateError(f"{name} has the verdict {found.outcome}: {found.verdict.get('reason', '')}")
    if serving is not None and found.champion_version not in {None, serving.version}:
        raise NoCandidateError(
            f"{name} was judged against version {found.champion_version}, and version {serving.version} serves; "
            "retrain, and it is judged anew"
        )
    decided = _decided(connection, pin)
    if decided is not None and decided.decision == approvals.REJECTED:
        raise NoCandidateError(f"{name} was rejected by {decided.person}: {decided.reason}")
    approved = decided is not None and decided.decision == approvals.APPROVED
    if product.policy.promotion.mode == MANUAL and not approved:
        raise NoCandidateError(f"{name} passed and waits for a person (make approve VERSION={pin.version} REASON=...)")
    since = max(found.moment, decided.decided_at) if approved and decided is not None else found.moment
    if not version and (why := _tried(connection, product, pin, since)):
        raise NoCandidateError(f"{name} {why}")
    return Candidate(pin, found.id, found.verdict.get("reason", ""), decided.person if approved and decided else None)


def rejected(connection: Connection, pin: Pin) -> tuple[str, str] | None:
    """Who took a model back, and why, where that is the newest word on it."""
    decided = _decided(connection, pin)
    if decided is None or decided.decision != approvals.REJECTED:
        return None
    return decided.person, decided.reason


class Decision(msgspec.Struct, frozen=True):
    """The newest word of a person on a package."""

    decision: str
    person: str
    reason: str
    decided_at: datetime


def _decided(connection: Connection, pin: Pin) -> Decision | None:
    table = decisions.c
    query = select(table.decision, table.person, table.reason, table.decided_at).where(table.sha256 == pin.sha256)
    row = connection.execute(query.order_by(table.id.desc()).limit(1)).first()
    return None if row is None else Decision(*row)


def _tried(connection: Connection, product: Product, pin: Pin, since: datetime) -> str:
    """Why it is not tried again by itself after what came of it; empty when it is."""
    mine: list[Entry] = [
        entry
        for entry in ledger.ends(connection, product.name)
        if (entry.after if entry.action == "promote" else entry.before) == pin and entry.moment > since
    ]
    told = [entry for entry in mine if entry.reason not in AGAIN]
    against = next((entry for entry in told if entry.reason != "too_few_samples"), None)
    if against is not None:
        return f"was tried before, and {against.outcome}: {against.message}"
    if len(told) >= product.policy.rollout.tries:
        return f"was inconclusive {len(told)} times: {told[0].message}"
    return ""
