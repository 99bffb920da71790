"""Single predictions of the prediction log, and their actuals."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, select

from beacon_core.data.actuals import actual_of
from beacon_core.data.tables import predictions


class LoggedPrediction(NamedTuple):
    """A prediction as the log has it: `features` are the merged ones, `from_store` names those of the feature store."""

    id: str
    time: datetime
    entity: str | None
    features: dict[str, float]
    from_store: list[str] | None
    imputed: list[str]
    out_of_range: list[str]
    prediction: float
    low: float
    high: float
    model_version: str
    model_sha256: str
    shadow_version: str | None
    shadow_prediction: float | None
    latency_seconds: float
    request_id: str
    trace_id: str | None


class LoggedActual(NamedTuple):
    """The actual of a prediction, and when it was observed and received."""

    value: float
    observed_at: datetime
    received_at: datetime
    source: str


def find(connection: Connection, prediction_id: str) -> LoggedPrediction | None:
    """Find a prediction by its id."""
    columns = [predictions.c[name] for name in LoggedPrediction._fields]
    row = connection.execute(select(*columns).where(predictions.c.id == prediction_id)).one_or_none()
    return None if row is None else LoggedPrediction(*row)


def find_actual(connection: Connection, prediction: LoggedPrediction) -> LoggedActual | None:
    """Find the actual that belongs to a prediction; None while it has none."""
    row = actual_of(connection, prediction.id, prediction.entity, prediction.time)
    return None if row is None else LoggedActual(*[row[name] for name in LoggedActual._fields])
