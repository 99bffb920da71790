"""Labels: the predictions whose actual has arrived, as retraining reads them."""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, select

from beacon_core.data.prediction_log import lake_joins
from beacon_core.data.prediction_log.port import BATCH
from beacon_core.data.prediction_log.reading import lake_of
from beacon_core.data.prediction_log.which_actual import labelled
from beacon_core.data.tables import predictions
from beacon_core.domain.policy import Evidence
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


OF_ACTUAL = ("value", "observed_at")
"""The last fields, which are the actual's."""


def labelled_predictions(connection: Connection, evidence: Evidence) -> Iterator[list[LabelledPrediction]]:
    """Yield every labelled prediction that counts, in batches, in no order: databases sort text each in its own way."""
    if (source := lake_of(connection)) is not None:
        columns = LabelledPrediction._fields[: -len(OF_ACTUAL)]
        for rows in lake_joins.labelled_rows(connection, source, evidence, columns):
            yield [LabelledPrediction(*row) for row in rows]
        return
    table = predictions.c
    found = labelled(table.id, table.entity, table.time, table.features, table.from_store, evidence=evidence)
    query = select(*[found.c[name] for name in LabelledPrediction._fields])
    for batch in connection.execute(query, execution_options={"yield_per": BATCH}).partitions():
        yield [LabelledPrediction(*row) for row in batch]
