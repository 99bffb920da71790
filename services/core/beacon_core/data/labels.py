"""Labels: the predictions whose actual has arrived, as retraining reads them."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, select

from beacon_core.data.actuals import labelled
from beacon_core.data.tables import predictions
from beacon_core.domain.value_rules import Value


class LabelledPrediction(NamedTuple):
    """A prediction with its actual: `features` are the merged ones, `from_store` names those of the feature store."""

    id: str
    entity: str | None
    time: datetime
    features: dict[str, Value]
    from_store: list[str] | None
    value: float
    observed_at: datetime


def labelled_predictions(connection: Connection) -> list[LabelledPrediction]:
    """Every labelled prediction, in order of time and id."""
    table = predictions.c
    found = labelled(table.id, table.entity, table.time, table.features, table.from_store)
    columns = [found.c[name] for name in LabelledPrediction._fields]
    rows = [LabelledPrediction(*row) for row in connection.execute(select(*columns))]
    return sorted(rows, key=lambda row: (row.time, row.id))  # not in SQL: databases sort text each in its own way
