"""Which model is in service, by what is only ever appended: the ledger of promotions, and before it the first verdict.

MLflow's alias and tags say it to people. Whoever may write there may change them, so nothing is decided by them.
"""

from sqlalchemy import select

from beacon_core.data.database import Engine
from beacon_core.data.ledger import served_at
from beacon_core.data.tables import verdicts
from beacon_core.domain.pins import Pin
from beacon_core.platform import clock


def champion(engine: Engine, product: str) -> Pin | None:
    """The model in service, pinned; None where there never was one."""
    with engine.connect() as connection:
        entry = served_at(connection, product, clock.now())
        if entry is not None and entry.serving:
            return entry.serving[0]
        # Before its first promotion a product serves the first model: the oldest that was judged against no other, and
        # did not fail.
        first = select(verdicts.c.version, verdicts.c.sha256).where(
            verdicts.c.product == product, verdicts.c.champion_version.is_(None), verdicts.c.outcome != "fail"
        )
        found = connection.execute(first.order_by(verdicts.c.id).limit(1)).first()
    return None if found is None else Pin(product, found.version, found.sha256)
