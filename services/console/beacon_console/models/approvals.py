"""Which verdicts wait for an approval."""

from collections.abc import Sequence

from beacon_core.data import approvals
from beacon_core.data.approvals import PASS
from beacon_core.data.database import Connection
from beacon_core.data.verdicts import RecordedVerdict
from beacon_core.domain.product import Product


def verdicts_that_wait(
    connection: Connection, product: Product, newest: Sequence[RecordedVerdict]
) -> list[RecordedVerdict]:
    """The newest verdict, where it waits for a person and is not decided yet; else nothing.

    It waits where it passed and the product requires approvals, or where the schema has a breaking change.

    An older one is outdated: its challenger was compared with an earlier champion, on earlier data.
    """
    if not newest:
        return []
    passed = newest[0].outcome == PASS and product.policy.promotion.mode == "manual"
    if not (passed or newest[0].needs_approval):
        return []
    past = approvals.history(connection, [newest[0].sha256])
    is_rejected = bool(past) and past[0].decision != approvals.APPROVED
    return [] if is_rejected or approvals.is_approved(past, product.policy.approvals.people) else [newest[0]]
