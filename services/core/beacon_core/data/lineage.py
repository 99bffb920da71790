"""Lineage: which model made a logged prediction."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, select

from beacon_core.data.tables import predictions


class LoggedPrediction(NamedTuple):
    """What the prediction log says of a prediction."""

    id: str
    time: datetime
    prediction: float
    model_version: str
    model_sha256: str
    request_id: str
    trace_id: str | None


def find_prediction(connection: Connection, prediction_id: str) -> LoggedPrediction | None:
    """Find a logged prediction by its id."""
    columns = [predictions.c[name] for name in LoggedPrediction._fields]
    row = connection.execute(select(*columns).where(predictions.c.id == prediction_id)).one_or_none()
    return None if row is None else LoggedPrediction(*row)
