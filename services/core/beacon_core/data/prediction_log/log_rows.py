"""The prediction log as a table for programs: pages of rows in the order of time, each with its actual."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, or_, select

from beacon_core.data.prediction_log import lake_pages
from beacon_core.data.prediction_log.page_types import LogLine, LogPosition
from beacon_core.data.prediction_log.port import LogSlice
from beacon_core.data.prediction_log.reading import lake_of
from beacon_core.data.prediction_log.which_actual import actual_id
from beacon_core.data.tables import actuals, predictions

OF_PREDICTIONS = tuple(predictions.c[name] for name in LogLine.__struct_fields__[:-2])


def rows_after(
    connection: Connection, since: datetime, until: datetime, after: LogPosition | None, most: int
) -> list[LogLine]:
    """The first rows of [since, until) that follow `after`, the oldest first: a page costs the same, wherever it is."""
    if lake_of(connection) is not None:
        begin = since if after is None else max(since, after.time)
        return lake_pages.rows_after(connection, LogSlice(begin, until), after, most)
    table = predictions.c
    query = select(*OF_PREDICTIONS).where(table.time >= since, table.time < until)
    if after is not None:
        query = query.where(table.time >= after.time)
        query = query.where(or_(table.time > after.time, and_(table.time == after.time, table.id > after.id)))
    page = query.order_by(table.time, table.id).limit(most).subquery()
    belonging = actuals.c.id == actual_id(page.c.id, page.c.entity, page.c.time)
    facts: tuple[Any, ...] = (*page.c, actuals.c.value, actuals.c.observed_at)
    whole = select(*facts).select_from(page.outerjoin(actuals, belonging))
    return [LogLine(*row) for row in connection.execute(whole.order_by(page.c.time, page.c.id))]
