"""Candidate selection: the newest verdict's model, if it passed and nobody rejected it.

A model whose schema has a breaking change cannot be compared, so it cannot pass: a person approves it.
"""

from datetime import datetime

import msgspec

from beacon_core.data import approvals, ledger, verdicts
from beacon_core.data.database import Connection
from beacon_core.domain.ledger_entries import Entry
from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product

AGAIN = frozenset({"interrupted", "target_down", "package_missing", "not_signed"})
"""Reasons that are not about the model: it is tried again."""


class NoCandidateError(Exception):
    """Nothing is to be promoted; the message says why."""


class Candidate(msgspec.Struct, frozen=True):
    """A model that may be promoted: the number and the reason of its verdict, and who approved it."""

    pin: Pin
    verdict: int
    reason: str
    approved_by: str | None


def select_candidate(connection: Connection, product: Product, serving: Pin | None, version: str = "") -> Candidate:
    """The candidate, or the `version` that a person wants; raises `NoCandidateError`.

    A person may name a model that a limit rejected before, but none that the gate or a person rejected.
    """
    found = next(iter(verdicts.history(connection, product.name, 1, version or None)), None)
    if found is None:
        raise NoCandidateError(f"version {version} has no verdict" if version else "there is no verdict yet")
    pin = Pin(product.name, found.version, found.sha256)
    name = f"version {pin.version}"
    if serving is not None and pin == serving:
        raise NoCandidateError(
            f"{name}, the newest with a verdict, serves already" if not version else f"{name} serves already"
        )
    if not found.may_be_approved:
        raise NoCandidateError(f"{name} has the verdict {found.outcome}: {found.reason}")
    if serving is not None and found.champion_version not in {None, serving.version}:
        raise NoCandidateError(
            f"{name} was judged against version {found.champion_version}, and version {serving.version} serves; "
            "retrain, and it is judged again"
        )
    past = approvals.history(connection, [pin.sha256])
    if past and past[0].decision == approvals.REJECTED:
        raise NoCandidateError(f"{name} was rejected by {past[0].person}: {past[0].reason}")
    approved = approvals.is_approved(past, product.policy.approvals.people)
    if (product.policy.promotion.mode == "manual" or found.needs_approval) and not approved:
        why = "has a breaking change of the schema" if found.needs_approval else "passed"
        whom = f"a second person than {past[0].person}" if past else "a person"
        raise NoCandidateError(f"{name} {why} and waits for {whom} (make approve VERSION={pin.version} REASON=...)")
    since = max(found.moment, past[0].decided_at) if approved else found.moment
    if not version and (why := _tried(connection, product, pin, since)):
        raise NoCandidateError(f"{name} {why}")
    people = [each.person for each in reversed(approvals.approvals_of(past))]
    return Candidate(pin, found.id, found.reason, " and ".join(people) if approved else None)


def rejected(connection: Connection, pin: Pin) -> tuple[str, str] | None:
    """Who rejected a model and why, if that is the newest decision on it."""
    decided = approvals.newest(connection, pin.sha256)
    if decided is None or decided.decision != approvals.REJECTED:
        return None
    return decided.person, decided.reason


def _tried(connection: Connection, product: Product, pin: Pin, since: datetime) -> str:
    """Why it is not tried again automatically; empty when it is."""
    mine: list[Entry] = [
        entry
        for entry in ledger.ends(connection, product.name)
        if (entry.after if entry.action == "promote" else entry.before) == pin and entry.moment > since
    ]
    conclusive = [entry for entry in mine if entry.reason not in AGAIN]
    against = next((entry for entry in conclusive if entry.reason != "too_few_samples"), None)
    if against is not None:
        return f"was tried before, and {against.outcome}: {against.message}"
    if len(conclusive) >= product.policy.rollout.tries:
        return f"was inconclusive {len(conclusive)} times: {conclusive[0].message}"
    return ""
