"""Which verdicts wait for an approval."""

from collections.abc import Sequence

from beacon_core.data import approvals
from beacon_core.data.approvals import PASS
from beacon_core.data.client import Connection
from beacon_core.data.verdicts import RecordedVerdict
from beacon_core.domain.product import Product

MANUAL = "manual"


def verdicts_that_wait(
    connection: Connection, product: Product, newest: Sequence[RecordedVerdict]
) -> list[RecordedVerdict]:
    """Of the newest verdicts the last one, where it passed, the product asks for approvals, and nobody decided yet.

    An older one is outdated: its challenger was compared with an earlier champion, on earlier data.
    """
    if product.promotion.mode != MANUAL or not newest or newest[0].outcome != PASS:
        return []
    return [] if approvals.history(connection, [newest[0].sha256]) else [newest[0]]
