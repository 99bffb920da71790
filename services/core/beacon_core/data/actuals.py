"""The actuals as the store has them: appended, and how far they have come.

Which of them belongs to a prediction says `beacon_core.data.prediction_log.which_actual`.
"""

from datetime import datetime

import msgspec
from sqlalchemy import Connection, and_, func, select

from beacon_core.data.tables import actuals
from beacon_core.domain.actuals import Actual, Outcome


def add(connection: Connection, actual: Actual, received_at: datetime) -> Outcome:
    """Store an actual, unless the newest one for the same prediction, or entity and time, has the same value."""
    same = (
        actuals.c.prediction_id == actual.prediction_id
        if actual.prediction_id is not None
        else and_(actuals.c.entity == actual.entity, actuals.c.observed_at == actual.observed_at)
    )
    query = select(actuals.c.value).where(same).order_by(actuals.c.id.desc()).limit(1)
    before = connection.execute(query).scalar()
    if before == actual.value:
        return "duplicate"
    connection.execute(actuals.insert().values(**msgspec.structs.asdict(actual), received_at=received_at))
    return "accepted" if before is None else "corrected"


def last_received(connection: Connection) -> datetime | None:
    """When the newest actual was received; None when there is none."""
    found: datetime | None = connection.scalar(select(func.max(actuals.c.received_at)))
    return found


def before_newest(connection: Connection, count: int) -> int:
    """Find the `actuals.id` that about `count` newer ones follow, for `labelled(after=...)`."""
    return (connection.scalar(select(func.max(actuals.c.id))) or 0) - count
