"""Which actual belongs to a prediction: one rule for all who ask."""

from datetime import datetime

from sqlalchemy import Connection, RowMapping, select

from beacon_core.store import actuals, predictions


def actual_of(connection: Connection, prediction_id: str, entity: str | None, time: datetime) -> RowMapping | None:
    """Find the newest actual of a prediction made at `time`.

    One sent for the prediction's id wins. Otherwise one for its entity counts, if it was observed after the prediction
    and before the entity's next one.
    """
    by_id = select(actuals).where(actuals.c.prediction_id == prediction_id).order_by(actuals.c.id.desc()).limit(1)
    found = connection.execute(by_id).mappings().first()
    if found is not None or entity is None:
        return found
    later = select(predictions.c.time).where(predictions.c.entity == entity, predictions.c.time > time)
    following = connection.execute(later.order_by(predictions.c.time).limit(1)).scalar()
    of_entity = select(actuals).where(actuals.c.entity == entity, actuals.c.observed_at >= time)
    if following is not None:
        of_entity = of_entity.where(actuals.c.observed_at < following)
    newest = of_entity.order_by(actuals.c.observed_at, actuals.c.id.desc()).limit(1)
    return connection.execute(newest).mappings().first()
