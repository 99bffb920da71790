"""Approvals and rejections of model versions: one rule for the console and `make approve`. Rows are kept for ever."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, insert, select

from beacon_core.data.tables import approvals, verdicts
from beacon_core.data.verdicts import check_outcomes
from beacon_core.domain.errors import BeaconError
from beacon_core.domain.verdict import may_be_approved
from beacon_core.platform import clock

APPROVED, REJECTED = "approved", "rejected"
PASS = "pass"  # noqa: S105 - the gate's outcome
LENGTHS = {"person": 64, "reason": 500}


class ApprovalDecision(NamedTuple):
    """An approval or a rejection of one package, and who decided so, why and when."""

    id: int
    decided_at: datetime
    version: str
    sha256: str
    decision: str
    person: str
    reason: str


def decide(
    connection: Connection,
    product: str,
    version: str,
    decision: str,
    person: str,
    reason: str,
    *,
    sha256: str | None = None,
    people: int = 1,
) -> bool:
    """Write the decision on the package that the newest verdict is about; False when it is decided so already.

    Approving takes a verdict that passed, or one that could not be reached since the schema has a breaking change;
    rejecting takes any. `sha256` is the package that the person read
    about, where that is known; `people` is how many have to approve it. Raises `BeaconError`: invalid_body, not_found
    (no verdict), verdict_not_passed, idempotency_conflict (another package), second_person_needed.
    """
    if decision not in {APPROVED, REJECTED}:
        raise BeaconError("invalid_body", f"decision must be {APPROVED} or {REJECTED}.", "decision")
    person, reason = check_line("person", person), check_line("reason", reason)
    judged = select(verdicts.c.sha256, verdicts.c.outcome, verdicts.c.verdict).where(
        verdicts.c.product == product, verdicts.c.version == version
    )
    found = connection.execute(judged.order_by(verdicts.c.id.desc()).limit(1)).first()
    if found is None:
        raise BeaconError(
            "not_found", f"Model {version[:64]} has no verdict, so there is nothing to decide.", "version"
        )
    if decision == APPROVED and not may_be_approved(found.outcome, check_outcomes(found.verdict)):
        rule = (
            f"Model {version} has the verdict {found.outcome}; only {PASS} can be approved, "
            "or a breaking change of the schema where no check failed."
        )
        raise BeaconError("verdict_not_passed", rule, "version")
    if sha256 is not None and sha256 != found.sha256:
        rule = f"Another package of model {version} was judged meanwhile. Read its verdict first."
        raise BeaconError("idempotency_conflict", rule, "sha256")
    past = history(connection, [found.sha256])
    if decision == APPROVED and not is_approved(past, people):
        if any(_is_same(person, each.person) for each in approvals_of(past)):
            rule = f"{person} approved it already; approvals.people of policy.yaml asks for {people} different people."
            raise BeaconError("second_person_needed", rule, "person")
    elif past and past[0].decision == decision:
        return False
    row: dict[str, Any] = {"product": product, "version": version, "sha256": found.sha256, "decision": decision}
    row |= {"person": person, "reason": reason, "decided_at": clock.now()}
    connection.execute(insert(approvals).values(row))
    return True


def newest(connection: Connection, sha256: str) -> ApprovalDecision | None:
    """What was last decided on a package, or None."""
    return next(iter(history(connection, [sha256])), None)


def approvals_of(past: Sequence[ApprovalDecision]) -> list[ApprovalDecision]:
    """The approvals that count, one of each person, the newest first; a rejection ends all before it."""
    counting: list[ApprovalDecision] = []
    for each in past:
        if each.decision != APPROVED:
            break
        if not any(_is_same(each.person, other.person) for other in counting):
            counting.append(each)
    return counting


def is_approved(past: Sequence[ApprovalDecision], people: int) -> bool:
    """Whether so many people approved a package whose decisions these are, the newest first."""
    return len(approvals_of(past)) >= people


def _is_same(one: str, other: str) -> bool:
    return one.strip().casefold() == other.strip().casefold()


def check_line(name: str, text: str) -> str:
    """The text without blanks around it; BeaconError `invalid_body` where a person's word cannot be kept."""
    text = text.strip()
    if not text or len(text) > LENGTHS[name] or not text.isprintable():
        raise BeaconError("invalid_body", f"{name} must be 1 to {LENGTHS[name]} characters on one line.", name)
    return text


def history(connection: Connection, sha256: Sequence[str]) -> list[ApprovalDecision]:
    """List what was decided on these packages, the newest first."""
    columns = [approvals.c[name] for name in ApprovalDecision._fields]
    query = select(*columns).where(approvals.c.sha256.in_(sha256)).order_by(approvals.c.id.desc())
    return [ApprovalDecision(*row) for row in connection.execute(query)]
